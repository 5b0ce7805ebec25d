// Grey pictures and masks as flat arrays, { values, width, height }, and what is done to them.
//
// A photo has millions of pixels: plain loops, no objects for single pixels.

import { turn } from "./preprocess.js";

/** A picture of the same size as another, with other values. */
export const like = ({ width, height }, values) => ({ values, width, height });

/** Another picture of the same size: what `make(value, place)` makes of each value. */
export function each(image, make, Kind = Float32Array) {
  const { values } = image;
  const made = new Kind(values.length);
  for (let k = 0; k < made.length; k += 1) made[k] = make(values[k], k);
  return like(image, made);
}

/** Where values are above a threshold, as a mask of 0 and 1. */
export const above = (image, threshold) =>
  each(image, (value) => (value > threshold ? 1 : 0), Uint8Array);

/** Average blocks of times x times pixels; those at the right and lower edge may be smaller. */
export function reduce({ values, width, height }, times) {
  const [across, down] = [Math.ceil(width / times), Math.ceil(height / times)];
  const small = new Float32Array(across * down);
  for (let row = 0, place = 0; row < down; row += 1) {
    const bottom = Math.min(height, (row + 1) * times);
    for (let column = 0; column < across; column += 1, place += 1) {
      const [left, right] = [column * times, Math.min(width, (column + 1) * times)];
      let sum = 0;
      for (let y = row * times; y < bottom; y += 1) {
        for (let x = left; x < right; x += 1) sum += values[y * width + x];
      }
      small[place] = sum / ((right - left) * (bottom - row * times));
    }
  }
  return { values: small, width: across, height: down };
}

/** Apply what works along rows to rows and then to columns. */
export const bothWays = (image, alongRows) => turn(alongRows(turn(alongRows(image))));

/** The largest value within `reach` pixels to both sides, along rows; beyond the edge is nothing. */
function largestAlongRows({ values, width, height }, reach) {
  const largest = new values.constructor(values.length);
  const waiting = new Int32Array(width); // columns whose values fall: the first is the largest
  for (let start = 0; start < values.length; start += width) {
    let [first, last, next] = [0, 0, 0];
    for (let column = 0; column < width; column += 1) {
      for (; next < width && next <= column + reach; next += 1) {
        while (last > first && values[start + waiting[last - 1]] <= values[start + next]) last -= 1;
        waiting[last] = next;
        last += 1;
      }
      if (waiting[first] < column - reach) first += 1;
      largest[start + column] = values[start + waiting[first]];
    }
  }
  return { values: largest, width, height };
}

/** The largest value in the square that reaches so many pixels to each side. */
export const widen = (image, reach) =>
  (reach < 1 ? image : bothWays(image, (rows) => largestAlongRows(rows, reach)));

const negate = (image) => each(image, (value) => -value);

/** The smallest value in that square. */
export const narrow = (image, reach) => negate(widen(negate(image), reach));

/** Fill what is darker than its surroundings and narrower than the square: a closing. */
export const close = (image, reach) => narrow(widen(image, reach), reach);

/** Lay an image into one that is larger by a margin, in which its edge goes on; or, with a margin below
 * zero, cut that much off all around. */
export function frame({ values, width, height }, margin) {
  const [across, down] = [width + 2 * margin, height + 2 * margin];
  const framed = new values.constructor(across * down);
  for (let row = 0, place = 0; row < down; row += 1) {
    const y = Math.min(height - 1, Math.max(0, row - margin));
    for (let column = 0; column < across; column += 1, place += 1) {
      framed[place] = values[y * width + Math.min(width - 1, Math.max(0, column - margin))];
    }
  }
  return { values: framed, width: across, height: down };
}

/** Mean over a square of 3x3; the edge goes on beyond itself. */
export const soften = (image) => bothWays(image, ({ values, width, height }) => {
  const soft = new Float32Array(values.length);
  for (let start = 0; start < values.length; start += width) {
    for (let column = 0; column < width; column += 1) {
      const [before, after] = [Math.max(0, column - 1), Math.min(width - 1, column + 1)];
      soft[start + column] =
        (values[start + before] + values[start + column] + values[start + after]) / 3;
    }
  }
  return { values: soft, width, height };
});

/** The median of the outermost pixels. */
export function rimOf({ values, width, height }) {
  const rim = [];
  for (let x = 0; x < width; x += 1) rim.push(values[x], values[(height - 1) * width + x]);
  for (let y = 0; y < height; y += 1) rim.push(values[y * width], values[(y + 1) * width - 1]);
  return medianOf(rim);
}

/** The median of numbers, of which there are not millions. */
export const medianOf = (numbers) => quantileOf(numbers, 0.5);

/** What a share of numbers do not exceed, between two of them in proportion, as NumPy has it. */
export function quantileOf(numbers, share) {
  const sorted = Float64Array.from(numbers).sort();
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}

/** The largest of numbers, at least `least`. */
export function largestOf(values, least = -Infinity) {
  let most = least;
  for (let k = 0; k < values.length; k += 1) if (values[k] > most) most = values[k];
  return most;
}

/** About 100,000 of many pixels, evenly spread: enough for a median or a threshold. */
export function sample({ values, width, height }) {
  const step = Math.max(1, Math.floor(Math.sqrt(Math.floor(values.length / 100_000))));
  const some = [];
  for (let y = 0; y < height; y += step) {
    for (let x = 0; x < width; x += step) some.push(values[y * width + x]);
  }
  return some;
}

/** Otsu's threshold: it parts values into two groups whose means differ most. */
export function otsu(values) {
  const bins = 256;
  let [least, most] = [Infinity, -Infinity];
  for (let k = 0; k < values.length; k += 1) {
    if (values[k] < least) least = values[k];
    if (values[k] > most) most = values[k];
  }
  if (!(most > least)) return most;
  const counts = new Float64Array(bins);
  const scale = bins / (most - least);
  let total = 0;
  for (let k = 0; k < values.length; k += 1) {
    const bin = Math.min(bins - 1, Math.floor((values[k] - least) * scale));
    counts[bin] += 1;
    total += bin;
  }
  let [best, threshold, below, sum] = [-1, 0, 0, 0];
  for (let bin = 0; bin < bins - 1; bin += 1) {
    below += counts[bin];
    sum += counts[bin] * bin;
    const above = values.length - below;
    const apart = sum / below - (total - sum) / above;
    const spread = below * above * apart * apart;
    if (spread > best) [best, threshold] = [spread, bin];
  }
  return least + (threshold + 0.5) / scale;
}

/**
 * Number pieces that hang together, from 1: also at corners, unless `corners` is false.
 *
 * Returns { labels, boxes }: Int32Array with 0 outside, and for each piece { left, top, right,
 * bottom, area }, the last two exclusive; boxes[0] is not a piece.
 */
export function label({ values, width, height }, corners = true) {
  const labels = new Int32Array(values.length);
  const parents = [0];
  const rootOf = (number) => {
    let root = number;
    while (parents[root] !== root) root = parents[root] = parents[parents[root]];
    return root;
  };
  for (let row = 0, place = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1, place += 1) {
      if (!values[place]) continue;
      let own = column > 0 ? labels[place - 1] : 0;
      if (row > 0) {
        const first = corners && column > 0 ? -1 : 0;
        const last = corners && column < width - 1 ? 1 : 0;
        for (let aside = first; aside <= last; aside += 1) {
          const other = labels[place - width + aside];
          if (!other || other === own) continue;
          if (!own) own = other;
          else {
            const [one, two] = [rootOf(own), rootOf(other)];
            parents[Math.max(one, two)] = Math.min(one, two);
          }
        }
      }
      if (!own) {
        own = parents.length;
        parents.push(own);
      }
      labels[place] = own;
    }
  }
  const numbers = new Int32Array(parents.length);
  let count = 0;
  for (let k = 1; k < parents.length; k += 1) {
    const root = rootOf(k);
    if (root === k) numbers[k] = count += 1;
    else numbers[k] = numbers[root];
  }
  const boxes = Array.from({ length: count + 1 }, () =>
    ({ left: width, top: height, right: 0, bottom: 0, area: 0 }));
  for (let row = 0, place = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1, place += 1) {
      if (!labels[place]) continue;
      const box = boxes[(labels[place] = numbers[labels[place]])];
      if (column < box.left) box.left = column;
      if (column >= box.right) box.right = column + 1;
      if (row < box.top) box.top = row;
      box.bottom = row + 1;
      box.area += 1;
    }
  }
  return { labels, boxes };
}

/** Cut a box, { left, top, right, bottom }, out of labels as a mask of one of them. */
export function maskOf(labels, width, number, box) {
  const [across, down] = [box.right - box.left, box.bottom - box.top];
  const values = new Uint8Array(across * down);
  for (let row = 0, place = 0; row < down; row += 1) {
    let from = (box.top + row) * width + box.left;
    for (let column = 0; column < across; column += 1, place += 1, from += 1) {
      if (labels[from] === number) values[place] = 1;
    }
  }
  return { values, width: across, height: down };
}

/** The pixels of a mask that have a neighbour outside it, above, below or beside; also at the edge of
 * the picture, unless `edge` says that the mask goes on there. As places in the flat array. */
export function outlineOf({ values, width, height }, edge = false) {
  const outline = [];
  for (let row = 0, place = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1, place += 1) {
      if (!values[place]) continue;
      const inside =
        (column > 0 ? values[place - 1] : edge) &&
        (column < width - 1 ? values[place + 1] : edge) &&
        (row > 0 ? values[place - width] : edge) &&
        (row < height - 1 ? values[place + width] : edge);
      if (!inside) outline.push(place);
    }
  }
  return outline;
}

/** How wide strokes are on average, in pixels: twice their area over their outline. */
export function strokeWidth(mask) {
  let area = 0;
  for (let k = 0; k < mask.values.length; k += 1) area += mask.values[k] ? 1 : 0;
  return (2 * area) / Math.max(1, outlineOf(mask, true).length);
}

/** The height of the tallest piece of a mask. */
export const tallestOf = (mask) =>
  label(mask).boxes.slice(1).reduce((most, { top, bottom }) => Math.max(most, bottom - top), 0);
