// Ruled lines, level and upright, and lines under digits: thin, straight, and longer than any stroke.
//
//   const rest = takeRuledLinesAway(ink, mask);   // they run through the picture
//   takeLongLinesAway(rest);                      // they run under digits, and part them
//
// The steps of handwriting/lines.py, which says why; tests hold the two together.

import { noiseFloor } from "./paper.js";
import { turn } from "./preprocess.js";
import { above, each, label, maskOf, medianOf, tallestOf } from "./raster.js";

const COVER = 0.85; // of its way through the picture, for a line to be ruled
const THICKEST = 8; // pixels of a copy that is 400 to 800 pixels wide
const SLOPES = Array.from({ length: 29 }, (_, k) => (k - 14) * 0.005); // 4 degrees to either side

/** Take away lines that run from edge to edge, but not the strokes on them. */
export function takeRuledLinesAway(ink, mask) {
  if (Math.min(mask.width, mask.height) < 100 || !mask.values.includes(1)) return mask;
  // A line may be fainter than a stroke here and there: what counts is that it goes on.
  const faint = above(ink, Math.max(noiseFloor(ink), 0.15 * medianIn(ink, mask)));
  const level = findLevelLines(faint, mask);
  const across = findLevelLines(turn(faint), turn(mask));
  const upright = { lines: turn(across.lines), count: across.count };
  const rest = each(mask, (value, place) =>
    (value && !level.lines.values[place] && !upright.lines.values[place] ? 1 : 0), Uint8Array);
  const tallest = tallestOf(rest);
  const usual = rest.values.includes(1) ? medianIn(ink, rest) : Infinity;
  let kept = mask;
  for (const [{ lines, count }, length] of [[level, mask.width], [upright, mask.height]]) {
    // One line may be the bar of a 7 or the stem of a 4 in a picture that the digit fills.
    if (!lines.values.includes(1) || length <= 2 * tallest) continue;
    const strength = medianIn(ink, lines);
    if (count === 1 && strength >= 0.6 * usual) continue;
    // What is much stronger than most of a line is a stroke on it.
    kept = each(kept, (value, place) =>
      (lines.values[place] && ink.values[place] < 1.5 * strength ? 0 : value), Uint8Array);
  }
  return kept;
}

/** The median of ink where a mask is. */
function medianIn(ink, mask) {
  const found = [];
  for (let k = 0; k < mask.values.length; k += 1) if (mask.values[k]) found.push(ink.values[k]);
  return medianOf(found);
}

/** Where level lines run in `mask`, but not where strokes cross them; and how many they are. */
export function findLevelLines(faint, mask) {
  const times = Math.max(1, Math.floor(mask.width / 400));
  const small = anyOf(faint, times);
  const lines = traceLines(small);
  const count = label(lines).boxes.length - 1;
  const area = lines.values.reduce((sum, value) => sum + value, 0);
  const { width, height } = mask;
  const found = { values: new Uint8Array(width * height), width, height };
  if (count === 0 || area > THICKEST * lines.width * count) return { lines: found, count: 0 };
  const isLine = (x, y) =>
    lines.values[Math.floor(y / times) * lines.width + Math.floor(x / times)];
  const reach = 6 * times;
  const from = new Int32Array(height); // in a column: the last row, so far, with ink beside the lines
  for (let x = 0; x < width; x += 1) {
    let last = -Infinity;
    for (let y = 0; y < height; y += 1) {
      if (mask.values[y * width + x] && !isLine(x, y)) last = y;
      from[y] = y - last <= reach ? 1 : 0;
    }
    let next = Infinity;
    for (let y = height - 1; y >= 0; y -= 1) {
      const place = y * width + x;
      if (!mask.values[place]) continue;
      if (!isLine(x, y)) next = y;
      // Where ink goes on above and below, a stroke crosses the line: it stays.
      else if (!(from[y] && next - y <= reach)) found.values[place] = 1;
    }
  }
  return { lines: found, count };
}

/** A copy so many times as small: 1 where any of its pixels is. */
function anyOf({ values, width, height }, times) {
  const [across, down] = [Math.ceil(width / times), Math.ceil(height / times)];
  const small = new Uint8Array(across * down);
  for (let y = 0, place = 0; y < height; y += 1) {
    const start = Math.floor(y / times) * across;
    for (let x = 0; x < width; x += 1, place += 1) {
      if (values[place]) small[start + Math.floor(x / times)] = 1;
    }
  }
  return { values: small, width: across, height: down };
}

/** Every straight line from edge to edge that has ink, or ink a pixel beside it, on most of its way. */
function traceLines({ values, width, height }) {
  const [xs, ys] = [[], []];
  for (let y = 0, place = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, place += 1) {
      if (values[place] || (y > 0 && values[place - width]) ||
        (y < height - 1 && values[place + width])) {
        xs.push(x);
        ys.push(y);
      }
    }
  }
  const lines = { values: new Uint8Array(values.length), width, height };
  const beyond = height + Math.floor(width / 20);
  for (const slope of SLOPES) {
    const rise = Int32Array.from({ length: width }, (_, x) => Math.round((x - width / 2) * slope));
    const [hits, begun, ended] = [0, 1, 2].map(() => new Int32Array(height + 2 * beyond));
    for (let k = 0; k < xs.length; k += 1) {
      // Where the row of a line through this pixel meets the middle column.
      const row = ys[k] - rise[xs[k]] + beyond;
      hits[row] += 1;
      if (xs[k] < width / 30) begun[row] += 1;
      if (xs[k] >= width - width / 30) ended[row] += 1;
    }
    hits.forEach((hit, place) => {
      if (hit <= 0.5 * COVER * width) return;
      const row = place - beyond;
      const isInside = (x) => row + rise[x] >= 0 && row + rise[x] < height;
      const inside = [...rise.keys()].filter(isInside);
      const isThrough = (begun[place] || !isInside(0)) && (ended[place] || !isInside(width - 1));
      if (!isThrough || hit <= COVER * Math.max(inside.length, width / 2)) return;
      for (const x of inside) lines.values[(row + rise[x]) * width + x] = 1;
    });
  }
  return lines;
}

/** Take away level lines under digits, and combs: a line with ticks that part the digits. */
export function takeLongLinesAway(mask) {
  const { labels, boxes } = label(mask);
  const sizes = (box) => [box.right - box.left, box.bottom - box.top];
  const heights = boxes.slice(1).map((box) => sizes(box)[1]);
  const tallest = Math.max(0, ...heights);
  const usual = tallest ? medianOf(heights.filter((height) => height >= 0.1 * tallest)) : 0;
  const kept = { ...mask, values: Uint8Array.from(mask.values) };
  boxes.forEach((box, number) => {
    if (number === 0 || sizes(box)[0] < 3 * usual) return;
    const own = maskOf(labels, mask.width, number, box);
    const { lines } = findLevelLines(own, own);
    if (!lines.values.includes(1)) return;
    const rest = label(each(own, (value, place) => (lines.values[place] ? 0 : value), Uint8Array));
    const isTick = rest.boxes.map((part) => {
      const [width, height] = sizes(part);
      return width < 0.2 * usual && height < 0.75 * usual;
    });
    own.values.forEach((value, place) => {
      const part = rest.labels[place];
      if (!value || (part > 0 && !isTick[part])) return;
      const [x, y] = [place % own.width, Math.floor(place / own.width)];
      kept.values[(box.top + y) * mask.width + box.left + x] = 0;
    });
  });
  return kept.values.includes(1) ? kept : mask;
}
