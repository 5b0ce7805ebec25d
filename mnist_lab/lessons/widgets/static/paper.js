// From a photo's pixels to ink: how bright the paper is everywhere, and what swallows more light.
//
//   const grey = toGrey(pixels);      // pixels: { data, width, height } of a canvas
//   const ink = takePaperAway(grey);  // 0 is paper, 255 is what swallows all light
//
// The steps of handwriting/paper.py, which says why; tests hold the two together.

import {
  above, bothWays, close, each, frame, label, largestOf, like, narrow, otsu, quantileOf, reduce, rimOf,
  sample, soften, strokeWidth, widen,
} from "./raster.js";

const SIDE = 400; // pixels of the small copy's longer side, in which the paper is looked for
// Brightness as the eye has it (ITU-R 601-2), then red, green and blue.
const CHANNELS = [[19595, 38470, 7471], [65536, 0, 0], [0, 65536, 0], [0, 0, 65536]];
const FAINT = 0.25; // of the threshold: fainter ink is not even told of
const TINY = 60; // pixels of a shorter side; in less there is no room for a shadow

/** Turn colours into the grey in which ink is clearest: brightness, or one of the three colours. */
export function toGrey(pixels) {
  const times = timesFor(pixels, SIDE / 2);
  const contrasts = CHANNELS.map((weights) => contrastOf(reduce(mix(pixels, weights), times)));
  const best = contrasts.indexOf(Math.max(...contrasts));
  // JPEG keeps colours less sharp than brightness: they must be worth it.
  return mix(pixels, CHANNELS[contrasts[best] > 1.5 * contrasts[0] ? best : 0]);
}

const timesFor = ({ width, height }, side) => Math.max(1, Math.ceil(Math.max(width, height) / side));

const shrink = (image, side) => reduce(image, timesFor(image, side));

/** Add a pixel's red, green and blue, each with its weight; the weights are parts of 65,536. */
function mix({ data, width, height }, [red, green, blue]) {
  const values = new Uint8Array(width * height);
  for (let place = 0, from = 0; place < values.length; place += 1, from += 4) {
    values[place] =
      (red * data[from] + green * data[from + 1] + blue * data[from + 2] + 32768) >>> 16;
  }
  return { values, width, height };
}

function contrastOf(small) {
  const [near, around] = [soften(small), blur(small, Math.max(small.width, small.height) / 20)];
  return largestOf(each(near, (value, place) => Math.abs(value - around.values[place])).values);
}

/** A Gaussian blur; beyond the edge the picture goes on as its last pixel. */
function blur(image, width) {
  const reach = Math.round(4 * width);
  const weights = Array.from({ length: 2 * reach + 1 }, (_, k) =>
    Math.exp(-((k - reach) ** 2) / (2 * width * width)));
  const whole = weights.reduce((sum, weight) => sum + weight, 0);
  return bothWays(image, (rows) => {
    const blurred = new Float32Array(rows.values.length);
    for (let start = 0; start < blurred.length; start += rows.width) {
      for (let column = 0; column < rows.width; column += 1) {
        let sum = 0;
        for (let k = 0; k < weights.length; k += 1) {
          const x = Math.min(rows.width - 1, Math.max(0, column + k - reach));
          sum += weights[k] * rows.values[start + x];
        }
        blurred[start + column] = sum / whole;
      }
    }
    return like(rows, blurred);
  });
}

/** How strong ink is: what differs from the paper, whichever of the two is darker. */
export function takePaperAway(grey) {
  const times = timesFor(grey, SIDE);
  const small = soften(reduce(grey, times));
  const sign = findSignOfInk(shrink(grey, SIDE / 2));
  if (Math.min(small.width, small.height) < TINY) {
    const rim = rimOf(grey); // as bright everywhere as it is along the rim
    return each(grey, (value) => strengthOf(rim, value, sign));
  }
  const closed = closePaper(each(small, (value) => sign * value));
  // The edge of a shadow is less sharp in the copy; there the side counts that looks less like ink.
  const paper = each(narrow(closed, times > 1 ? 2 : 1), (value) => sign * value);
  const { width, height } = grey;
  const columns = spread(width, times, small.width);
  const rows = spread(height, times, small.height);
  const ink = new Float32Array(width * height);
  const across = new Float32Array(small.width); // the paper's brightness in one row of the picture
  for (let y = 0, place = 0; y < height; y += 1) {
    const [one, two] = [rows.first[y] * small.width, rows.second[y] * small.width];
    for (let x = 0; x < small.width; x += 1) {
      across[x] = paper.values[one + x] + rows.share[y] * (paper.values[two + x] - paper.values[one + x]);
    }
    for (let x = 0; x < width; x += 1, place += 1) {
      const left = across[columns.first[x]];
      const level = left + columns.share[x] * (across[columns.second[x]] - left);
      ink[place] = strengthOf(level, grey.values[place], sign);
    }
  }
  return { values: ink, width, height };
}

function strengthOf(paper, value, sign) {
  const swallowed = Math.max(0, sign * (paper - value));
  // In a deeper shadow there is little but noise.
  return sign > 0 ? (swallowed * 255) / Math.max(64, paper) : swallowed;
}

/** Between which two pixels of the small copy each pixel's middle lies, and how far from the first. */
function spread(count, times, size) {
  const [first, second] = [new Int32Array(count), new Int32Array(count)];
  const share = new Float32Array(count);
  for (let k = 0; k < count; k += 1) {
    const at = Math.min(size - 1, Math.max(0, (k + 0.5) / times - 0.5));
    first[k] = Math.floor(at);
    second[k] = Math.min(size - 1, first[k] + 1);
    share[k] = at - first[k];
  }
  return { first, second, share };
}

/** 1 if ink is darker than the paper, -1 if it is lighter. */
export function findSignOfInk(image) {
  const { values, width, height } = image;
  const rim = rimOf(image);
  const reach = Math.floor(Math.max(1, Math.floor(Math.max(width, height) / 8)) / 2);
  if (Math.min(width, height) < TINY / 2 || !showsASheet(image, 2 * reach + 1)) {
    const least = values.reduce((one, two) => Math.min(one, two), Infinity);
    return rim - least >= largestOf(values) - rim ? 1 : -1;
  }
  // On a scale of ratios, ink in a shadow stands out as much as ink in the light.
  const levels = each(image, (value) => Math.log(value / 16 + 1));
  const hats = [1, -1].map((way) => {
    const signed = each(levels, (value) => way * value);
    return each(fill(signed, reach), (value, place) => value - signed.values[place]);
  });
  const strong = 0.5 * Math.max(...hats.map((hat) => largestOf(hat.values)));
  const [dark, light] = hats.map((hat) => above(hat, strong));
  const onPaper = (one, other) => widen(one, 2).values.reduce(
    (sum, value, place) => sum + (value && !one.values[place] && !other.values[place] ? 1 : 0), 0);
  return onPaper(dark, light) > onPaper(light, dark) ? 1 : -1;
}

/** Whether something unlike the rim holds a large square, strokes on it left aside. */
function showsASheet(image, side) {
  const { values, width, height } = image;
  const bright = above(image, otsu(values));
  const light = rimOf(bright) > 0.5 ? 1 : 0;
  const unlike = each(bright, (value) => (value === light ? 0 : 1), Uint8Array);
  const solid = close(unlike, Math.floor(side / 2)).values;
  const largest = new Int32Array(values.length); // the square whose lower right corner is here
  let most = 0;
  for (let y = 0, place = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, place += 1) {
      if (!solid[place]) continue;
      largest[place] = 1 + (x && y
        ? Math.min(largest[place - 1], largest[place - width], largest[place - width - 1]) : 0);
      if (largest[place] > most) most = largest[place];
    }
  }
  return most > 0.3 * Math.max(width, height);
}

/** Fill what is darker than its surroundings and holds no square; the rest keeps its corners. */
function fill(image, reach) {
  const { width, height } = image;
  const margin = 2 * reach; // what lies at the rim goes on beyond it
  const filled = frame(close(frame(image, margin), reach), -margin);
  const { values } = filled;
  // A closing by reconstruction: what was filled sinks to its neighbours, and never below the image.
  const sink = (place, other) => {
    const level = Math.max(image.values[place], Math.min(values[place], values[other]));
    const sunk = level < values[place];
    if (sunk) values[place] = level;
    return sunk;
  };
  for (let changed = true; changed;) {
    changed = false;
    for (const way of [1, -1]) {
      for (let step = 0; step < height; step += 1) {
        const row = way > 0 ? step : height - 1 - step;
        for (let count = 0; count < width; count += 1) {
          const column = way > 0 ? count : width - 1 - count;
          const place = row * width + column;
          const [inner, before] = [column - way, row - way];
          if (inner >= 0 && inner < width && sink(place, place - way)) changed = true;
          if (before < 0 || before >= height) continue;
          for (let aside = Math.max(0, column - 1); aside <= Math.min(width - 1, column + 1); aside += 1) {
            if (sink(place, before * width + aside)) changed = true;
          }
        }
      }
    }
  }
  return filled;
}

/** The paper's brightness: the image, with all that is as narrow as strokes filled. */
function closePaper(image) {
  const { width, height } = image;
  const rough = everySecond(image);
  const filled = fill(rough, Math.floor(Math.max(rough.width, rough.height) / 6));
  const pits = each(filled, (value, place) => value - rough.values[place]);
  const strokes = 2 * strokeWidth(above(pits, 0.35 * largestOf(pits.values)));
  const side = Math.min(
    Math.max(9, 2 * Math.ceil(2 * strokes) + 1), Math.floor(Math.max(width, height) / 3));
  return close(image, Math.floor(side / 2));
}

function everySecond({ values, width, height }) {
  const [across, down] = [Math.ceil(width / 2), Math.ceil(height / 2)];
  const half = new Float32Array(across * down);
  for (let row = 0, place = 0; row < down; row += 1) {
    for (let column = 0; column < across; column += 1, place += 1) {
      half[place] = values[2 * row * width + 2 * column];
    }
  }
  return { values: half, width: across, height: down };
}

/** What the grain of the paper and the noise of a sensor do not reach. */
export function noiseFloor(ink) {
  const weak = 0.2 * largestOf(ink.values, 0);
  const grain = sample(ink).filter((value) => value < weak);
  if (grain.length === 0) return 0;
  const middle = quantileOf(grain, 0.5);
  return middle + 5 * 1.48 * quantileOf(grain.map((value) => Math.abs(value - middle)), 0.5);
}

/** What noise does not reach, and what tells strokes from paper. */
function findThresholds(ink) {
  const floor = noiseFloor(ink);
  const some = sample(ink).map((value) => (value > floor ? value : 0));
  return [floor, Math.max(floor, otsu(some))];
}

/** Where ink is a stroke: strong somewhere, and fainter where it hangs together with that. */
export function thresholdInk(ink) {
  const [floor, strong] = findThresholds(ink);
  return followStrokes(ink, Math.max(floor, strong / 2), strong)[0];
}

/** Where ink stands out from the paper, but hangs together with nothing that is strong. */
export function findFaintInk(ink) {
  const [floor, strong] = findThresholds(ink);
  return followStrokes(ink, Math.max(floor, FAINT * strong), strong)[1];
}

/** What is above a threshold, in pieces that are above a higher one somewhere, and the other pieces. */
function followStrokes(ink, weak, strong) {
  const { labels, boxes } = label(above(ink, weak), false);
  const goesOn = new Uint8Array(boxes.length);
  for (let k = 0; k < labels.length; k += 1) if (ink.values[k] > strong) goesOn[labels[k]] = 1;
  return [1, 0].map((way) =>
    each(ink, (_, k) => (labels[k] && goesOn[labels[k]] === way ? 1 : 0), Uint8Array));
}
