// What is on a page and is no handwriting: frames of boxes and tables, and dark rims.
//
//   takeRimsAway(takeFramesAway(mask));   // before sizes are compared: beside a grid digits are specks
//
// The steps of handwriting/lines.py, which says why; tests hold the two together.

import { turn } from "./preprocess.js";
import { each, label, like, maskOf, outlineOf, strokeWidth, tallestOf, widen } from "./raster.js";

const heightOf = ({ top, bottom }) => bottom - top;
const widthOf = ({ left, right }) => right - left;

/** Take frames away: what has other writing in its holes, or is an empty rectangle. */
export function takeFramesAway(mask) {
  const { labels, boxes } = label(mask);
  const tallest = boxes.slice(1).reduce((most, box) => Math.max(most, heightOf(box)), 0);
  const kept = like(mask, Uint8Array.from(mask.values));
  boxes.forEach((box, number) => {
    if (number === 0 || heightOf(box) <= 0.5 * tallest) return;
    const own = maskOf(labels, mask.width, number, box);
    const atEdge = {
      left: box.left === 0, top: box.top === 0,
      right: box.right === mask.width, bottom: box.bottom === mask.height,
    };
    const cells = findCells(own, atEdge);
    const isCut = Object.values(atEdge).includes(true);
    const ink = cutOut(mask, box);
    if (!isFrame(own, cells, ink, isCut)) return;
    // Writing may touch the walls of its cell: what lies within a cell's outline stays.
    const inside = new Uint8Array(own.values.length);
    cells.boxes.slice(1).forEach((cell, k) => {
      if (Math.min(widthOf(cell), heightOf(cell)) <= 8) return;
      const filled = fillOutline(maskOf(cells.labels, own.width, k + 1, cell));
      forEachIn(filled, (x, y) => { inside[(cell.top + y) * own.width + cell.left + x] = 1; });
    });
    forEachIn(own, (x, y) => {
      if (!inside[y * own.width + x]) kept.values[(box.top + y) * mask.width + box.left + x] = 0;
    });
  });
  return kept.values.includes(1) ? kept : mask; // a nought may be square
}

function forEachIn({ values, width }, act) {
  for (let place = 0; place < values.length; place += 1) {
    if (values[place]) act(place % width, Math.floor(place / width));
  }
}

/** A box of a picture, { left, top, right, bottom }, as a picture. */
function cutOut({ values, width }, { left, top, right, bottom }) {
  const across = right - left;
  const cut = new values.constructor(across * (bottom - top));
  for (let y = top; y < bottom; y += 1) {
    cut.set(values.subarray(y * width + left, y * width + right), (y - top) * across);
  }
  return { values: cut, width: across, height: bottom - top };
}

/** The holes of a piece that is cropped to itself, as of `label`; the picture's edge is a wall. */
function findCells(own, atEdge) {
  const [width, height] = [own.width + 2, own.height + 2];
  const walls = { values: new Uint8Array(width * height), width, height };
  for (let y = 0, place = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, place += 1) {
      const isWall = (y === 0 && atEdge.top) || (y === height - 1 && atEdge.bottom) ||
        (x === 0 && atEdge.left) || (x === width - 1 && atEdge.right);
      const isOutside = y === 0 || y === height - 1 || x === 0 || x === width - 1;
      walls.values[place] =
        isWall || (!isOutside && own.values[(y - 1) * own.width + x - 1]) ? 1 : 0;
    }
  }
  // Made wider, a wall has no gaps, and is straight enough.
  const wide = widen(walls, Math.max(1, Math.round(strokeWidth(walls))));
  const { labels, boxes } = label(each(wide, (value) => 1 - value, Uint8Array), false);
  const isOpen = new Uint8Array(boxes.length);
  boxes.forEach(({ left, top, right, bottom }, number) => {
    if (left === 0 || top === 0 || right === width || bottom === height) isOpen[number] = 1;
  });
  const holes = each({ values: labels, width, height }, (k) => (k && !isOpen[k] ? 1 : 0), Uint8Array);
  return label(cutOut(holes, { left: 1, top: 1, right: width - 1, bottom: height - 1 }), false);
}

/** Whether a piece with these holes is a frame; `ink` is all that is written there. */
function isFrame(own, cells, ink, isCut) {
  const areas = cells.boxes.slice(1).map(({ area }) => area);
  const whole = own.values.length;
  if (!isCut && areas.reduce((sum, area) => sum + area, 0) > 0.25 * whole &&
    fillOutline(own).values.reduce((sum, value) => sum + value, 0) > 0.88 * whole) return true;
  return cells.boxes.some((cell, number) => {
    if (number === 0) return false;
    const inside = maskOf(cells.labels, own.width, number, cell);
    const written = cutOut(ink, cell);
    written.values.forEach((value, place) => {
      if (!inside.values[place]) written.values[place] = 0;
    });
    const isWritten = tallestOf(written) > 0.25 * heightOf(cell);
    return isWritten && (!isCut || cell.area > 0.8 * inside.values.length);
  });
}

/** What lies between the outermost pixels of a mask in its row and also in its column: near enough to
 * its convex hull. */
function fillOutline(mask) {
  const rows = fillRows(mask);
  const columns = turn(fillRows(turn(mask)));
  return each(rows, (value, place) => value & columns.values[place], Uint8Array);
}

function fillRows({ values, width, height }) {
  const filled = new Uint8Array(values.length);
  for (let start = 0; start < values.length; start += width) {
    let [first, last] = [width, -1];
    for (let x = 0; x < width; x += 1) {
      if (!values[start + x]) continue;
      if (first === width) first = x;
      last = x;
    }
    filled.fill(1, start + first, start + Math.max(first, last + 1));
  }
  return { values: filled, width, height };
}

/** Take away what lies along the picture's edge: a table, a finger, the dark rim of a scan. */
export function takeRimsAway(mask) {
  const { width, height } = mask;
  const { labels, boxes } = label(mask);
  const [rows, columns] = [Math.floor(height / 20), Math.floor(width / 20)]; // what is near an edge
  const level = { count: width, step: 1, lengthOf: widthOf, depthOf: heightOf };
  const upright = { count: height, step: width, lengthOf: heightOf, depthOf: widthOf };
  const sides = [
    { ...level, start: 0, isNear: ({ bottom }) => bottom <= 1 + rows },
    { ...level, start: (height - 1) * width, isNear: ({ top }) => top >= height - 1 - rows },
    { ...upright, start: 0, isNear: ({ right }) => right <= 1 + columns },
    { ...upright, start: width - 1, isNear: ({ left }) => left >= width - 1 - columns },
  ].map((side) => ({ ...side, touched: countAlong(labels, boxes.length, side) }));
  const numbers = [...boxes.keys()].slice(1);
  const atRim = boxes.map((box, number) =>
    number > 0 && sides.some(({ touched, isNear }) => touched[number] > 0 || isNear(box)));
  const inner = each(mask, (value, place) => (value && !atRim[labels[place]] ? 1 : 0), Uint8Array);
  const usual = tallestOf(inner);
  // Where nothing else is written it stays: a digit may fill the picture that it is cut out in.
  if (!atRim.includes(true) || usual < 0.05 * Math.max(width, height)) return mask;
  const outlines = new Int32Array(boxes.length);
  for (const place of outlineOf(mask, true)) outlines[labels[place]] += 1;
  const thickest = 2.5 * strokeWidth(inner);
  const gone = boxes.map(({ area }, number) =>
    atRim[number] && 2 * area > thickest * outlines[number]);
  for (const { touched, isNear, lengthOf, depthOf, count } of sides) {
    const flat = numbers.filter((k) => isNear(boxes[k]) && depthOf(boxes[k]) < 0.5 * usual);
    const length = flat.reduce((sum, k) => sum + lengthOf(boxes[k]), 0);
    if (length > 2 * usual) for (const k of flat) gone[k] = true;
    for (const k of numbers) if (touched[k] > 0.6 * count) gone[k] = true;
  }
  return each(mask, (value, place) => (value && !gone[labels[place]] ? 1 : 0), Uint8Array);
}

/** How many pixels of an edge each piece has. */
function countAlong(labels, pieces, { start, step, count }) {
  const counts = new Int32Array(pieces);
  for (let k = 0; k < count; k += 1) counts[labels[start + k * step]] += 1;
  return counts;
}
