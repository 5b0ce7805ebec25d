// From strokes to the 28x28 image that MNIST's makers would have made of them.
//
// The same as draw_strokes (handwriting/strokes.py) and fit_like_mnist (data/geometry.py), step by step,
// rounding included; tests hold the two together. A stroke is a list of points [x, y], y downwards, in any
// unit: the digit is drawn anew in its own size, so that neither the pen nor the place matters.

const SIDE = 28; // pixels of a side of the result
const BOX = 20; // pixels that the digit's longer side gets
const PEN = 2.6; // pixels of that box: how wide a line is
const DETAIL = 8; // the digit is drawn so many times as large, then shrunk

/** Round to the nearest whole number, halves to the even one, as Python does. */
export function roundEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

/** Return the image (Uint8Array of 28 x 28, 0 is paper), or null if there is no point. */
export function drawStrokes(strokes) {
  const lines = strokes.filter((stroke) => stroke.length > 0);
  if (lines.length === 0) return null;
  const { left, top, extent } = measure(lines);
  const radius = (PEN * DETAIL) / 2;
  const scale = extent > 0 ? (BOX * DETAIL - 2 * radius) / extent : 1;
  const placed = lines.map((line) =>
    line.map(([x, y]) => [(x - left) * scale + radius + 1, (y - top) * scale + radius + 1]));
  const { right, bottom } = measure(placed);
  const width = Math.ceil(right + radius + 1);
  const height = Math.ceil(bottom + radius + 1);
  const paper = { values: new Float64Array(width * height), width, height };
  for (const line of placed) {
    if (line.length === 1) drawLine(paper, line[0], line[0], radius);
    for (let k = 1; k < line.length; k += 1) drawLine(paper, line[k - 1], line[k], radius);
  }
  return fitLikeMnist(crop(paper));
}

/** The sides of all points' box, and how long the longer one is. */
export function measure(strokes) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of strokes.flat()) {
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
  }
  return { left, top, right, bottom, extent: Math.max(right - left, bottom - top) };
}

/** Draw a line with round ends: 255 within the radius, falling to 0 over the next pixel. */
function drawLine(paper, start, end, radius) {
  const [x0, y0] = start;
  const [across, down] = [end[0] - x0, end[1] - y0];
  const length = across * across + down * down || 1;
  const low = (axis) => Math.max(0, Math.floor(Math.min(start[axis], end[axis]) - radius - 1));
  const high = (axis) => Math.ceil(Math.max(start[axis], end[axis]) + radius + 1);
  const right = Math.min(high(0), paper.width);
  const bottom = Math.min(high(1), paper.height);
  for (let row = low(1); row < bottom; row += 1) {
    const y = row + 0.5 - y0;
    for (let column = low(0); column < right; column += 1) {
      const x = column + 0.5 - x0;
      const share = Math.min(1, Math.max(0, (x * across + y * down) / length));
      const [aside, below] = [x - share * across, y - share * down];
      const distance = Math.sqrt(aside * aside + below * below);
      const ink = Math.min(1, Math.max(0, radius - distance + 0.5)) * 255;
      const place = row * paper.width + column;
      if (ink > paper.values[place]) paper.values[place] = ink;
    }
  }
}

/** Round to whole grey values and cut the empty margins off. */
function crop({ values, width, height }) {
  const ink = values.map(roundEven);
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let row = 0, place = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1, place += 1) {
      if (ink[place] === 0) continue;
      left = Math.min(left, column);
      right = Math.max(right, column);
      top = Math.min(top, row);
      bottom = row;
    }
  }
  const cut = new Uint8Array((right - left + 1) * (bottom - top + 1));
  for (let row = top, place = 0; row <= bottom; row += 1) {
    for (let column = left; column <= right; column += 1, place += 1) {
      cut[place] = ink[row * width + column];
    }
  }
  return { values: cut, width: right - left + 1, height: bottom - top + 1 };
}

/** Fit ink into 20x20, keeping its aspect, and its centre of mass into that of 28x28. */
export function fitLikeMnist(ink) {
  const longer = Math.max(ink.width, ink.height);
  const width = Math.max(1, roundEven((ink.width * BOX) / longer));
  const height = Math.max(1, roundEven((ink.height * BOX) / longer));
  const small = resize(ink, width, height, longer > BOX ? shrink : enlarge);
  if (longer <= BOX) return pasteByCentreOfMass(small);
  const darkest = small.values.reduce((most, value) => Math.max(most, value), 1);
  const values = small.values.map((value) => roundEven(value * (255 / darkest)));
  return pasteByCentreOfMass({ values, width, height });
}

/** Bring an image to a size, one direction after the other, as Pillow does. */
const resize = (image, width, height, alongRows) =>
  turn(alongRows(turn(alongRows(image, width)), height));

/** Interpolate between the pixels of rows: Pillow's bicubic filter, for what grows. */
function enlarge(image, width) {
  const scale = image.width / width;
  const values = new Uint8Array(width * image.height);
  for (let column = 0; column < width; column += 1) {
    const centre = (column + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - 2 + 0.5));
    const end = Math.min(image.width, Math.trunc(centre + 2 + 0.5));
    const weights = [];
    for (let x = first; x < end; x += 1) weights.push(cubic(Math.abs(x - centre + 0.5)));
    const whole = weights.reduce((sum, weight) => sum + weight, 0);
    for (let row = 0; row < image.height; row += 1) {
      let sum = 0;
      weights.forEach((weight, k) => { sum += weight * image.values[row * image.width + first + k]; });
      values[row * width + column] = Math.min(255, Math.max(0, Math.floor(sum / whole + 0.5)));
    }
  }
  return { values, width, height: image.height };
}

/** How much a pixel counts that is so far away (Keys 1981, with a slope of -0.5). */
function cubic(apart) {
  if (apart < 1) return (1.5 * apart - 2.5) * apart * apart + 1;
  return apart < 2 ? ((-0.5 * apart + 2.5) * apart - 4) * apart + 2 : 0;
}

/** Average what each of `width` pixels covers, along the rows: Pillow's box filter. */
function shrink(image, width) {
  const scale = image.width / width;
  const values = new Uint8Array(width * image.height);
  for (let column = 0; column < width; column += 1) {
    const centre = (column + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - scale / 2 + 0.5));
    const end = Math.min(image.width, Math.trunc(centre + scale / 2 + 0.5));
    const inside = (x) => {
      const distance = (x - centre + 0.5) / scale;
      return distance > -0.5 && distance <= 0.5;
    };
    const covered = [];
    for (let x = first; x < end; x += 1) if (inside(x)) covered.push(x);
    const share = Math.trunc(0.5 + 2 ** 22 / covered.length); // Pillow counts in whole numbers
    for (let row = 0; row < image.height; row += 1) {
      let sum = 2 ** 21;
      for (const x of covered) sum += image.values[row * image.width + x] * share;
      values[row * width + column] = Math.min(255, Math.floor(sum / 2 ** 22));
    }
  }
  return { values, width, height: image.height };
}

/** Swap rows and columns. */
export function turn({ values, width, height }) {
  const turned = new values.constructor(values.length);
  for (let row = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1) {
      turned[column * height + row] = values[row * width + column];
    }
  }
  return { values: turned, width: height, height: width };
}

/** Lay the digit on 28x28 so that its centre of mass is at pixel 14, where MNIST has it. */
function pasteByCentreOfMass({ values, width, height }) {
  let [total, x, y] = [0, 0, 0];
  for (let place = 0; place < values.length; place += 1) {
    total += values[place];
    x += values[place] * (place % width);
    y += values[place] * Math.floor(place / width);
  }
  const limit = (place, size) => Math.min(Math.max(place, 0), SIDE - size);
  const left = limit(roundEven(SIDE / 2 - x / (total || 1)), width);
  const top = limit(roundEven(SIDE / 2 - y / (total || 1)), height);
  const canvas = new Uint8Array(SIDE * SIDE);
  for (let row = 0; row < height; row += 1) {
    const line = values.subarray(row * width, (row + 1) * width);
    canvas.set(line, (top + row) * SIDE + left);
  }
  return canvas;
}
