// What is on a page and is no handwriting: frames of boxes and tables, and dark rims.
//
//   takeRimsAway(takeFramesAway(mask).mask);   // before sizes are compared: beside a grid digits are specks
//
// The steps of handwriting/lines.py, which says why; tests hold the two together.

import { turn } from "./preprocess.js";
import {
  each, label, like, maskOf, narrow, outlineOf, strokeWidth, tallestOf, widen,
} from "./raster.js";
import { findLevelLines } from "./ruled.js";

const heightOf = ({ top, bottom }) => bottom - top;
const widthOf = ({ left, right }) => right - left;

/** Take frames away: what has other writing in its holes, or is a rectangle. What touches or crosses a
 * wall stays whole. Returns { mask, torn }: what stays, and what went though it is no straight wall. */
export function takeFramesAway(mask) {
  const { labels, boxes } = label(mask);
  const tallest = boxes.slice(1).reduce((most, box) => Math.max(most, heightOf(box)), 0);
  const kept = like(mask, Uint8Array.from(mask.values));
  const torn = like(mask, new Uint8Array(mask.values.length));
  boxes.forEach((box, number) => {
    if (number === 0 || heightOf(box) <= 0.5 * tallest) return;
    const own = maskOf(labels, mask.width, number, box);
    const found = takeFrameApart(own, cutOut(mask, box), edgesOf(box, mask));
    if (!found) return;
    forEachIn(own, (x, y) => {
      const from = y * own.width + x;
      if (found.stays[from]) return;
      const place = (box.top + y) * mask.width + box.left + x;
      kept.values[place] = 0;
      if (found.parts[from]) torn.values[place] = 1;
    });
  });
  if (kept.values.includes(1)) return { mask: kept, torn };
  return { mask, torn: like(mask, new Uint8Array(mask.values.length)) }; // a nought may be square
}

const edgesOf = ({ left, top, right, bottom }, { width, height }) =>
  ({ left: left === 0, top: top === 0, right: right === width, bottom: bottom === height });

/** What stays of a piece, cropped to itself, and its parts beside straight walls; null if it is no frame.
 * `ink` is all that is written there. */
function takeFrameApart(own, ink, atEdge) {
  const cells = findCells(own, atEdge);
  const isCut = Object.values(atEdge).includes(true);
  const hasWriting = isWrittenIn(own, cells, ink, isCut);
  if (!hasWriting && (isCut || !isRectangle(own, cells))) return null;
  const level = findLevelLines(own, own);
  const upright = findLevelLines(turn(own), turn(own));
  if (!hasWriting && level.count + upright.count <= 2) return null;
  const inside = hasWriting ? hullsOf(own, cells)
    : narrow(fillOutline(own), 2 * Math.round(strokeWidth(own))).values;
  const largest = (sizeOf) => (hasWriting
    ? cells.boxes.slice(1).reduce((most, cell) => Math.max(most, sizeOf(cell)), 0)
    : 0.75 * sizeOf({ left: 0, top: 0, right: own.width, bottom: own.height }));
  const lines = [level.lines.values, turn(upright.lines).values];
  const rest = each(own, (value, k) => (value && !lines[0][k] && !lines[1][k] ? 1 : 0), Uint8Array);
  const { labels, boxes } = label(rest);
  // What touches a wall is whole, unless it is as small as a scrap of wall, or a grid of them.
  const slack = 4 * strokeWidth(own);
  const [high, wide] = [largest(heightOf), largest(widthOf)];
  const isInside = new Uint8Array(boxes.length);
  labels.forEach((part, k) => { if (inside[k]) isInside[part] = 1; });
  const isWhole = boxes.map((part, number) => number > 0 && isInside[number] &&
    heightOf(part) > 0.4 * high && heightOf(part) < 1.25 * high + slack &&
    widthOf(part) < 1.25 * wide + slack);
  const stays = labels.map((part, k) => (part && (isWhole[part] || inside[k]) ? 1 : 0));
  return { parts: labels, stays };
}

/** Where the outlines of the cells are filled, all but those of the smallest. */
function hullsOf(own, cells) {
  const inside = new Uint8Array(own.values.length);
  cells.boxes.forEach((cell, number) => {
    if (number === 0 || Math.min(widthOf(cell), heightOf(cell)) <= 8) return;
    forEachIn(fillOutline(maskOf(cells.labels, own.width, number, cell)), (x, y) => {
      inside[(cell.top + y) * own.width + cell.left + x] = 1;
    });
  });
  return inside;
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

/** Whether a piece with these holes is a rectangle, and hollow. */
function isRectangle(own, cells) {
  const whole = own.values.length;
  const areaOf = ({ values }) => values.reduce((sum, value) => sum + value, 0);
  return cells.boxes.slice(1).reduce((sum, { area }) => sum + area, 0) > 0.25 * whole &&
    areaOf(fillOutline(own)) > 0.85 * whole && areaOf(own) < 0.6 * whole;
}

/** Whether something is written in one of these holes; `ink` is all that is written there. */
function isWrittenIn(own, cells, ink, isCut) {
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
  for (const { isNear, lengthOf, depthOf } of sides) {
    const flat = numbers.filter((k) => isNear(boxes[k]) && depthOf(boxes[k]) < 0.5 * usual);
    const length = flat.reduce((sum, k) => sum + lengthOf(boxes[k]), 0);
    if (length > 2 * usual) for (const k of flat) gone[k] = true;
  }
  return each(mask, (value, place) => (value && !gone[labels[place]] ? 1 : 0), Uint8Array);
}

/** How many pixels of an edge each piece has. */
function countAlong(labels, pieces, { start, step, count }) {
  const counts = new Int32Array(pieces);
  for (let k = 0; k < count; k += 1) counts[labels[start + k * step]] += 1;
  return counts;
}
