// All digits of a photographed page, as MNIST would have them: `handwriting/found.py`, reduced.
//
//   for (const steps = searchPage(pixels); ;) ...   // a generator: the page may breathe in between
//   { lines, unread }       // lines of { image, box }; boxes of ink that was not read, with a reason
//
// What Python does besides: it sets the digits of turned pages upright, and makes strokes as wide as
// MNIST's. A box is { left, top, right, bottom } in pixels of the picture.

import { findFaintInk, takePaperAway, thresholdInk, toGrey } from "./paper.js";
import {
  PhotoError, SMALLEST, cutApart, joinPieces, putInReadingOrder, splitIntoPieces, tellDigits,
  usualHeight,
} from "./photo-pieces.js";
import { takeFramesAway, takeRimsAway } from "./printed.js";
import { fitLikeMnist, roundEven } from "./preprocess.js";
import { each, label, largestOf, like, quantileOf, widen } from "./raster.js";
import { takeLongLinesAway, takeRuledLinesAway } from "./ruled.js";

export const WORKING_SIDE = 1_600; // pixels of the longer side; digits need no more
const FAINTEST = 32; // of 255; below this contrast with the paper there is nothing to read
const WEAKEST = 32; // of 255; a digit's box goes as far as what is stronger

const LARGEST = 3; // times as high and wide as digits are; what was left out and is larger is no digit
const NARROWEST = 0.1; // of that height; what is narrower is a scrap of a line
// Why ink was not read, as in handwriting/ink.py and found.py.
const TOO_LOW = "too low for a digit beside the others";
const TOO_FAINT = "too faint beside the other ink";
const IN_A_FRAME = "it runs on into a printed box or line";
const AT_THE_EDGE = "it lies along the picture's edge";

/** Find all digits in the pixels of a canvas, { data, width, height }, whose longer side has at most
 * WORKING_SIDE pixels; throws PhotoError. */
export function* searchPage(pixels) {
  const grey = toGrey(pixels);
  yield "grey";
  const ink = takePaperAway(grey);
  if (largestOf(ink.values, 0) < FAINTEST) {
    throw new PhotoError("It shows no digit: nothing stands out from the paper.");
  }
  yield "ink";
  const strokes = thresholdInk(ink);
  yield "strokes";
  const unruled = takeRuledLinesAway(ink, strokes);
  yield "no ruled lines";
  const unframed = takeFramesAway(unruled);
  const unlined = takeLongLinesAway(unframed.mask);
  const mask = takeRimsAway(unlined);
  yield "handwriting";
  if (!mask.values.includes(1)) {
    throw new PhotoError("It shows no digit: there are only lines on the paper.");
  }
  const { digits, rest } = tellDigits(joinPieces(splitIntoPieces(mask)));
  yield "pieces";
  const left = [
    [TOO_FAINT, findFaintInk(ink)], [IN_A_FRAME, unframed.torn],
    [AT_THE_EDGE, each(unlined, (value, k) => (value && !mask.values[k] ? 1 : 0), Uint8Array)],
  ];
  const usual = usualHeight(digits);
  const unread = rest.map((piece) => ({ ...boxOf(piece), reason: TOO_LOW }));
  for (const [reason, gone] of left) unread.push(...findLeft(gone, usual, reason));
  yield "what was left out";
  const lines = putInReadingOrder(cutApart(digits));
  return {
    lines: lines.map((line) => line.map((piece) =>
      ({ image: fitLikeMnist(cutFrom(piece, ink, mask)), box: boxOf(piece) }))),
    unread,
  };
}

const boxOf = ({ left, top, right, bottom }) => ({ left, top, right, bottom });

/** What is about as large as digits among the ink that was left out. */
function findLeft(mask, usual, reason) {
  return label(mask).boxes.slice(1).filter(({ left, top, right, bottom }) => {
    const [width, height] = [right - left, bottom - top];
    return height >= SMALLEST * usual && Math.max(width, height) <= LARGEST * usual &&
      Math.min(width, height) >= NARROWEST * usual;
  }).map((box) => ({ ...boxOf(box), reason }));
}

/** A piece's own ink alone, with the fainter ink along its edges; where it is strong it is 255. */
export function cutFrom(piece, ink, mask) {
  const reach = piece.mask.height > 60 ? 2 : 1;
  const [left, top] = [Math.max(0, piece.left - reach), Math.max(0, piece.top - reach)];
  const [right, bottom] =
    [Math.min(ink.width, piece.right + reach), Math.min(ink.height, piece.bottom + reach)];
  const width = right - left;
  const own = { values: new Uint8Array(width * (bottom - top)), width, height: bottom - top };
  const strengths = [];
  piece.mask.values.forEach((value, place) => {
    if (!value) return;
    const x = piece.left + (place % piece.mask.width);
    const y = piece.top + Math.floor(place / piece.mask.width);
    own.values[(y - top) * width + x - left] = 1;
    strengths.push(ink.values[y * ink.width + x]);
  });
  const full = quantileOf(strengths, 0.7);
  const near = widen(own, reach).values;
  const digit = like(own, new Uint8Array(near.length));
  const box = { left: width, top: own.height, right: 0, bottom: 0 };
  for (let row = 0, place = 0; row < own.height; row += 1) {
    for (let column = 0; column < width; column += 1, place += 1) {
      const from = (top + row) * ink.width + left + column;
      if (!near[place] || (mask.values[from] && !own.values[place])) continue;
      digit.values[place] = Math.min(255, roundEven((ink.values[from] * 255) / full));
      if (digit.values[place] <= WEAKEST) continue;
      box.left = Math.min(box.left, column);
      box.right = Math.max(box.right, column + 1);
      box.top = Math.min(box.top, row);
      box.bottom = row + 1;
    }
  }
  return cropTo(digit, box);
}

function cropTo({ values, width }, { left, top, right, bottom }) {
  const [across, down] = [right - left, bottom - top];
  const cropped = new Uint8Array(across * down);
  for (let row = 0; row < down; row += 1) {
    const start = (top + row) * width + left;
    cropped.set(values.subarray(start, start + across), row * across);
  }
  return { values: cropped, width: across, height: down };
}

/** Take all steps at once. */
export function searchAtOnce(pixels) {
  const steps = searchPage(pixels);
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}
