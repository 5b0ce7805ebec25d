// From ink to digits: pieces of ink that hang together, joined or cut until each is one digit.
//
//   const pieces = splitIntoPieces(mask);                 // { mask, left, top, right, bottom }
//   const { digits, rest } = tellDigits(joinPieces(pieces));
//   putInReadingOrder(cutApart(digits));
//
// The steps of handwriting/pieces.py, which says why; tests hold the two together.

import { label, maskOf, medianOf, outlineOf } from "./raster.js";

export const SMALLEST = 0.35; // of the usual height of digits; what is lower is none
const DUST = 0.15; // of that height
const MOST_PIECES = 1_000; // of ink in a picture; more are no digits
const MOST_TURNED = 20; // degrees that a page may be turned by
const WIDEST = 1.5; // width over height; a wider piece is taken for digits that touch
const OUTLINE = 400; // points of an outline, which are enough to find what is near

const heightOf = ({ top, bottom }) => bottom - top;
const widthOf = ({ left, right }) => right - left;
const longerOf = (box) => Math.max(widthOf(box), heightOf(box));

/** What keeps a picture from being read; the message is a sentence for whoever chose it. */
export class PhotoError extends Error {}

/** Return connected pieces of ink, without dust. */
export function splitIntoPieces(mask) {
  const { labels, boxes } = label(mask);
  const found = boxes.map((box, number) => ({ box, number })).slice(1);
  const longest = Math.max(...found.map(({ box }) => longerOf(box)));
  const largest = Math.max(...found.map(({ box }) => box.area));
  const kept = found.filter(({ box }) =>
    longerOf(box) >= 0.05 * longest && box.area >= 0.002 * largest);
  checkCount(kept.length);
  return kept.map(({ box: { left, top, right, bottom }, number }) =>
    ({ left, top, right, bottom, mask: maskOf(labels, mask.width, number, { left, top, right, bottom }) }));
}

function checkCount(count) {
  if (count <= MOST_PIECES) return;
  throw new PhotoError(`It shows ${count.toLocaleString("en")} pieces of ink: a texture or print, but ` +
    "no digits by hand.");
}

/** How high digits are: half of all outlines belong to pieces at least as high. */
export function usualHeight(pieces) {
  const measured = pieces.map((piece) => {
    const outline = outlineOf(piece.mask).length;
    const area = piece.mask.values.reduce((sum, value) => sum + value, 0);
    // A dot is hardly higher than the pen is wide, and there may be a thousand of them.
    return { height: heightOf(piece), outline, isDot: heightOf(piece) <= (6 * area) / outline };
  });
  const counted = measured.some(({ isDot }) => !isDot)
    ? measured.filter(({ isDot }) => !isDot) : measured;
  counted.sort((one, other) => one.height - other.height);
  let left = counted.reduce((sum, { outline }) => sum + outline, 0) / 2;
  return counted.find(({ outline }) => (left -= outline) <= 0).height;
}

/** Make one piece of several. */
function unite(pieces) {
  const box = pieces.reduce(around);
  const { left, top, right, bottom } = box;
  const width = right - left;
  const values = new Uint8Array(width * (bottom - top));
  for (const piece of pieces) {
    const { mask } = piece;
    for (let row = 0, place = 0; row < mask.height; row += 1) {
      const start = (piece.top - top + row) * width + piece.left - left;
      for (let column = 0; column < mask.width; column += 1, place += 1) {
        if (mask.values[place]) values[start + column] = 1;
      }
    }
  }
  return { left, top, right, bottom, mask: { values, width, height: bottom - top } };
}

/** The box around two boxes. */
const around = (one, other) => ({
  left: Math.min(one.left, other.left), top: Math.min(one.top, other.top),
  right: Math.max(one.right, other.right), bottom: Math.max(one.bottom, other.bottom),
});

/** How far two boxes overlap, across and down; below zero, how far they are apart. */
const overlapOf = (one, other) => [
  Math.min(one.right, other.right) - Math.max(one.left, other.left),
  Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top),
];

const liesWithin = (one, other) => {
  const [across, down] = overlapOf(one, other);
  return across >= 0.5 * Math.min(widthOf(one), widthOf(other)) &&
    down >= 0.5 * Math.min(heightOf(one), heightOf(other));
};

/** Join what makes one digit: the bar of a 5 lies above it, a broken stroke goes on nearby. */
export function joinPieces(pieces) {
  const usual = usualHeight(pieces);
  const boxes = pieces.map(({ left, top, right, bottom }) => ({ left, top, right, bottom }));
  const groups = pieces.map((_, number) => [number]);
  const groupOf = pieces.map((_, number) => number);
  let pairs = findNearPairs(pieces, usual);
  for (let waiting = -1; pairs.length !== waiting;) { // what has grown may be near enough now
    waiting = pairs.length;
    pairs = pairs.filter(([one, other]) => {
      const [first, second] = [groupOf[one], groupOf[other]].sort((a, b) => a - b);
      if (first === second) return false;
      if (!makeADigit(boxes[first], boxes[second], usual)) return true;
      boxes[first] = around(boxes[first], boxes[second]);
      groups[first].push(...groups[second]);
      for (const member of groups[second]) groupOf[member] = first;
      groups[second] = [];
      return false;
    });
  }
  return groups.filter((group) => group.length > 0)
    .map((group) => unite(group.map((member) => pieces[member])));
}

/** Which two pieces are so near that they may be one digit, the nearest first. */
function findNearPairs(pieces, usual) {
  const outlines = pieces.map(outermost);
  const pairs = [];
  for (let one = 0; one < pieces.length; one += 1) {
    for (let other = one + 1; other < pieces.length; other += 1) {
      const [across, down] = overlapOf(pieces[one], pieces[other]);
      const within = liesWithin(pieces[one], pieces[other]);
      const [widths, heights] = [widthOf, heightOf].map(
        (side) => Math.min(side(pieces[one]), side(pieces[other])));
      const isScrap = Math.max(widths, heights) < 0.4 * usual;
      const reach = usual * (0.08 + (across > 0 ? 0.07 : 0) + (isScrap ? 0.05 : 0));
      if (!within && -Math.min(across, down) > reach) continue;
      const apart = distanceOf(outlines[one], outlines[other]);
      if (within || apart <= reach) pairs.push([one, other, apart]);
    }
  }
  return pairs.sort((one, other) => one[2] - other[2]);
}

/** Points [x, y] along the outline of a piece, not more than are needed. */
function outermost({ mask, left, top }) {
  const places = outlineOf(mask);
  const every = Math.ceil(places.length / OUTLINE);
  return places.filter((_, k) => k % every === 0)
    .map((place) => [left + (place % mask.width), top + Math.floor(place / mask.width)]);
}

function distanceOf(points, others) {
  let least = Infinity;
  for (const [x, y] of points) {
    for (const [u, v] of others) {
      const square = (x - u) ** 2 + (y - v) ** 2;
      if (square < least) least = square;
    }
  }
  return Math.sqrt(least);
}

/** Whether what is in two boxes may be one digit. */
function makeADigit(one, other, usual) {
  if (liesWithin(one, other)) return true;
  // Specks beside each other are no digit, nor are two digits side by side.
  const both = around(one, other);
  const [height, width] = [heightOf(both), widthOf(both)];
  const longest = Math.max(longerOf(one), longerOf(other));
  const unlike =
    longest < SMALLEST * usual || Math.min(heightOf(one), heightOf(other)) > 0.75 * height;
  return !unlike && height <= 1.4 * usual && width <= WIDEST * height;
}

/** What is high enough for a digit beside the others, and what is not; dust is in neither. */
export function tellDigits(pieces) {
  const usual = usualHeight(pieces);
  const isDigit = (piece) => heightOf(piece) >= SMALLEST * usual;
  return {
    digits: pieces.filter(isDigit),
    rest: pieces.filter((piece) => !isDigit(piece) && longerOf(piece) >= DUST * usual),
  };
}

/** Cut pieces that are too wide for one digit where there is least ink. */
export function cutApart(pieces) {
  const usual = medianOf(pieces.map(heightOf));
  const digits = [];
  const waiting = [...pieces];
  while (waiting.length > 0) {
    checkCount(digits.length + waiting.length);
    const piece = waiting.pop();
    const halves = heightOf(piece) >= 0.6 * usual ? cut(piece) : [];
    if (halves.length > 0) waiting.push(...halves);
    else digits.push(piece);
  }
  return digits;
}

/** The two parts of a piece that is more than one digit; none if it is one. */
function cut(piece) {
  const { mask } = piece;
  const { width, height } = mask;
  const ratio = width / height;
  if (ratio <= WIDEST) return [];
  const columns = new Int32Array(width);
  mask.values.forEach((value, place) => { columns[place % width] += value; });
  const edge = Math.round(0.4 * height); // digits are at least so wide
  const thin = [...columns.keys()].filter((column) =>
    columns[column] <= 0.35 * height && column >= edge && column < width - edge);
  if (thin.length === 0) return [];
  // Among the thinnest places, the one nearest to an even share of the width.
  const parts = Math.max(2, Math.round(ratio / 0.8));
  const least = Math.min(...thin.map((column) => columns[column]));
  const fromShare = (column) => Math.min(...Array.from({ length: parts - 1 }, (_, k) =>
    Math.abs(column - ((k + 1) * width) / parts)));
  const at = thin.filter((column) => columns[column] <= least + 0.03 * height)
    .reduce((best, column) => (fromShare(column) < fromShare(best) ? column : best));
  const halves = [[0, at], [at, width]].map(([from, to]) => trim(piece, from, to));
  // A wide 2 comes apart into a hook and a tail; two digits are both about as high as both.
  return Math.min(...halves.map(heightOf)) >= 0.7 * height ? halves : [];
}

/** The part of a piece between two columns, cropped to its ink. */
function trim({ mask, left, top }, from, to) {
  const inside = { left: Infinity, top: Infinity, right: 0, bottom: 0 };
  for (let row = 0; row < mask.height; row += 1) {
    for (let column = from; column < to; column += 1) {
      if (!mask.values[row * mask.width + column]) continue;
      inside.left = Math.min(inside.left, column);
      inside.right = Math.max(inside.right, column + 1);
      inside.top = Math.min(inside.top, row);
      inside.bottom = row + 1;
    }
  }
  return {
    left: left + inside.left, top: top + inside.top,
    right: left + inside.right, bottom: top + inside.bottom,
    mask: maskOf(mask.values, mask.width, 1, inside),
  };
}

const middleOf = ({ left, top, right, bottom }) => [(left + right) / 2, (top + bottom) / 2];

/** By how many degrees lines fall: the median direction from a digit to the nearest on its right. */
export function findTurn(pieces) {
  if (pieces.length < 3) return 0;
  const middles = pieces.map(middleOf);
  const angles = middles.flatMap(([x, y], own) => {
    let [least, turn] = [Infinity, null];
    middles.forEach(([u, v], other) => {
      const angle = (Math.atan2(v - y, u - x) * 180) / Math.PI;
      const length = Math.hypot(u - x, v - y);
      if (other === own || Math.abs(angle) > MOST_TURNED || length >= least) return;
      [least, turn] = [length, angle];
    });
    return turn === null ? [] : [turn];
  });
  return angles.length > 0 ? medianOf(angles) : 0;
}

/** Lines from top to bottom, each a list of pieces from left to right. */
export function putInReadingOrder(pieces) {
  const turn = (findTurn(pieces) * Math.PI) / 180;
  const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
  const upright = pieces.map((piece) => {
    const [x, y] = middleOf(piece);
    return { piece, along: x * cos + y * sin, down: y * cos - x * sin };
  });
  const lines = [];
  for (const entry of upright.sort((one, other) => one.along - other.along)) {
    const apart = (line) => Math.abs(entry.down - line.at(-1).down);
    const nearest = lines.reduce(
      (best, line) => (best && apart(best) <= apart(line) ? best : line), null);
    const near = nearest && apart(nearest) <=
      0.7 * Math.max(heightOf(nearest.at(-1).piece), heightOf(entry.piece));
    if (near) nearest.push(entry);
    else lines.push([entry]);
  }
  const heightIn = (line) => line.reduce((sum, { down }) => sum + down, 0) / line.length;
  return lines.sort((one, other) => heightIn(one) - heightIn(other))
    .map((line) => line.map(({ piece }) => piece));
}
