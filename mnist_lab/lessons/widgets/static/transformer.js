// The vision transformer of chapters 9 and 12: what it reads, who looks at whom, what it paints.
//
//   const network = openTransformer(bytes);          // what export.transformer_bytes wrote
//   const { logits, probabilities, looks, guesses } = network.read(image, hidden);
//
// `image` is 28 x 28 numbers from 0 to 255, `hidden` a set of patches that it does not get to see, by
// number, row by row. `looks[layer][head]` holds the share that each patch (a row) gives each other;
// rows and columns of hidden patches are 0. `guesses` are grey values from 0 to 255 of every pixel,
// null where the file holds no decoder. Layers and names are those of mnist_lab/models/vit.py and
// mnist_lab/finetuning/masked.py. Tokens are rows of `width` numbers, one after the other.

import { checkShapes, readCard, softmax, unpackAll } from "./forward.js";
import { demand, readSafetensors } from "./safetensors.js";

const SIDE = 28;
const NORM_EPSILON = 1e-5; // PyTorch's
const MOST_TENSORS = 256; // 24 blocks
const LIMITS = { patch: 14, width: 128, depth: 8, heads: 16, expansion: 8 };

// --- Layers ---------------------------------------------------------------------------------------

/** Rows times a matrix [out, in], plus a bias. */
export function connect(rows, { weight, bias }) {
  const [count, length] = weight.shape;
  const result = new Float64Array((rows.length / length) * count);
  for (let from = 0, place = 0; from < rows.length; from += length) {
    for (let unit = 0, at = 0; unit < count; unit += 1, place += 1) {
      let sum = bias.values[unit];
      for (let k = 0; k < length; k += 1, at += 1) sum += weight.values[at] * rows[from + k];
      result[place] = sum;
    }
  }
  return result;
}

/** Bring each row to mean 0 and deviation 1, then scale and shift it. */
export function normalise(rows, { weight, bias }) {
  const width = weight.values.length;
  const result = new Float64Array(rows.length);
  for (let from = 0; from < rows.length; from += width) {
    const row = rows.subarray(from, from + width);
    const mean = row.reduce((sum, value) => sum + value, 0) / width;
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / width;
    const scale = 1 / Math.sqrt(variance + NORM_EPSILON);
    for (let k = 0; k < width; k += 1) {
      result[from + k] = (row[k] - mean) * scale * weight.values[k] + bias.values[k];
    }
  }
  return result;
}

/** x times the probability that a normal number is below x. */
export function gelu(x) {
  // Abramowitz and Stegun, 7.1.26: the error function, to 1.5e-7.
  const z = Math.abs(x) * Math.SQRT1_2;
  const t = 1 / (1 + 0.3275911 * z);
  const sum = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 +
    t * 1.061405429))));
  const beyond = 0.5 * sum * Math.exp(-z * z); // the probability of a number farther out
  return x * (x < 0 ? beyond : 1 - beyond);
}

/** Each token takes a weighted mean of what all offer: { result, shares }, shares a list of heads. */
export function attend(rows, { projection, output }, heads) {
  const width = output.weight.shape[0];
  const count = rows.length / width;
  const own = width / heads; // numbers of a head
  const projected = connect(rows, projection); // queries, keys and values, side by side
  const [query, key, value] = [0, 1, 2].map((part) => (token, head) =>
    token * 3 * width + part * width + head * own);
  const means = new Float64Array(rows.length);
  const shares = [];
  for (let head = 0; head < heads; head += 1) {
    const given = new Float64Array(count * count);
    for (let one = 0; one < count; one += 1) {
      const scores = new Float64Array(count);
      for (let other = 0; other < count; other += 1) {
        const [from, to] = [query(one, head), key(other, head)];
        for (let k = 0; k < own; k += 1) scores[other] += projected[from + k] * projected[to + k];
        scores[other] /= Math.sqrt(own);
      }
      const row = softmax(scores);
      given.set(row, one * count);
      for (let other = 0; other < count; other += 1) {
        const from = value(other, head);
        const to = one * width + head * own;
        for (let k = 0; k < own; k += 1) means[to + k] += row[other] * projected[from + k];
      }
    }
    shares.push(given);
  }
  return { result: connect(means, output), shares };
}

/** Attention, then a perceptron for each token alone; both add to what is there. */
function passBlock(rows, block, heads) {
  const { result, shares } = attend(normalise(rows, block.norm1), block.attention, heads);
  const mixed = rows.map((value, k) => value + result[k]);
  const wide = connect(normalise(mixed, block.norm2), block.expand).map(gelu);
  const added = connect(wide, block.shrink);
  return { rows: mixed.map((value, k) => value + added[k]), shares };
}

// --- What a file holds ----------------------------------------------------------------------------

function blockShapes(name, width, expansion) {
  const shapes = {};
  const add = (part, out, length) => {
    shapes[`${name}.${part}.weight`] = [out, length];
    shapes[`${name}.${part}.bias`] = [out];
  };
  for (const norm of ["norm1", "norm2"]) {
    for (const key of ["weight", "bias"]) shapes[`${name}.${norm}.${key}`] = [width];
  }
  add("attention.queries_keys_values", 3 * width, width);
  add("attention.output", width, width);
  add("expand", expansion * width, width);
  add("shrink", width, expansion * width);
  return shapes;
}

/** The shapes of an encoder, or of a decoder with `seen` numbers in a token that it gets. */
function shapesOf({ patch, width, depth, expansion }, classes, seen = 0) {
  const patches = (SIDE / patch) ** 2;
  const prefix = seen ? "decoder." : "";
  const [first, last, out] = seen
    ? ["bridge", "pixels", patch * patch] : ["embedding", "output", classes];
  const shapes = {
    [`${prefix}${first}.weight`]: [width, seen || patch * patch],
    [`${prefix}${first}.bias`]: [width],
    [`${prefix}positions`]: [patches, width],
    [`${prefix}norm.weight`]: [width],
    [`${prefix}norm.bias`]: [width],
    [`${prefix}${last}.weight`]: [out, width],
    [`${prefix}${last}.bias`]: [out],
  };
  if (seen) shapes[`${prefix}hidden`] = [width];
  for (let place = 0; place < depth; place += 1) {
    Object.assign(shapes, blockShapes(`${prefix}blocks.${place}`, width, expansion));
  }
  return shapes;
}

function readSizes(given) {
  const sizes = Object.fromEntries(Object.keys(LIMITS).map((name) => [name, given?.[name]]));
  const isSound = Object.entries(LIMITS).every(([name, most]) =>
    Number.isInteger(sizes[name]) && sizes[name] >= 1 && sizes[name] <= most);
  demand(isSound && SIDE % sizes.patch === 0 && sizes.width % sizes.heads === 0,
    "The transformer has sizes that this page cannot compute with.");
  return sizes;
}

function collect(tensors, prefix, depth) {
  const layer = (name) => ({
    weight: tensors.get(`${prefix}${name}.weight`), bias: tensors.get(`${prefix}${name}.bias`),
  });
  const blocks = Array.from({ length: depth }, (_, place) => {
    const part = (name) => layer(`blocks.${place}.${name}`);
    return {
      norm1: part("norm1"), norm2: part("norm2"), expand: part("expand"), shrink: part("shrink"),
      attention: {
        projection: part("attention.queries_keys_values"), output: part("attention.output"),
      },
    };
  });
  return { layer, blocks, norm: layer("norm"), positions: tensors.get(`${prefix}positions`).values };
}

// --- A whole network ------------------------------------------------------------------------------

/** Open the bytes of a transformer; throws a FileError with one sentence if they are none. */
export function openTransformer(bytes) {
  const { metadata, tensors } = readSafetensors(bytes, MOST_TENSORS);
  const card = readCard(metadata.get("card"), ["vit"]);
  const sizes = readSizes(card.arguments);
  const decoding = card.decoder
    ? readSizes({ ...card.decoder, patch: sizes.patch }) : null;
  const shapes = {
    ...shapesOf(sizes, card.classNames.length),
    ...(decoding ? shapesOf(decoding, 0, sizes.width) : {}),
  };
  if (card.bits) unpackAll(tensors, shapes, card.bits);
  checkShapes(card, tensors, shapes);
  const { patch, width, heads } = sizes;
  const across = SIDE / patch;
  const patches = across * across;
  const encoder = collect(tensors, "", sizes.depth);
  const decoder = decoding && collect(tensors, "decoder.", decoding.depth);
  const mask = tensors.get("decoder.hidden")?.values;

  /** Where the pixels of a patch are, one after the other. */
  const pixelsOf = Array.from({ length: patches }, (_, number) => {
    const start = Math.floor(number / across) * patch * SIDE + (number % across) * patch;
    return Array.from({ length: patch * patch }, (__, k) =>
      start + Math.floor(k / patch) * SIDE + (k % patch));
  });

  /** The tokens before the first block: the embedded patches that are seen, and where they lie. */
  const embed = (pixels, seen) => {
    const cut = new Float64Array(seen.length * patch * patch);
    seen.forEach((number, row) => pixelsOf[number].forEach((place, k) => {
      cut[row * patch * patch + k] = (pixels[place] / 255 - card.mean) / card.deviation;
    }));
    const rows = connect(cut, encoder.layer("embedding"));
    seen.forEach((number, row) => {
      for (let k = 0; k < width; k += 1) {
        rows[row * width + k] += encoder.positions[number * width + k];
      }
    });
    return rows;
  };

  /** A head's shares between the patches that are seen, as shares between all. */
  const spread = (shares, seen) => {
    const all = new Float64Array(patches * patches);
    seen.forEach((one, row) => seen.forEach((other, column) => {
      all[one * patches + other] = shares[row * seen.length + column];
    }));
    return all;
  };

  /** Grey values of all patches, from what the encoder made of those that are seen. */
  const paint = (rows, seen) => {
    const known = connect(rows, decoder.layer("bridge"));
    let all = new Float64Array(patches * decoding.width);
    for (let number = 0; number < patches; number += 1) {
      const row = seen.indexOf(number);
      for (let k = 0; k < decoding.width; k += 1) {
        const at = number * decoding.width + k;
        all[at] = (row < 0 ? mask[k] : known[row * decoding.width + k]) + decoder.positions[at];
      }
    }
    for (const block of decoder.blocks) ({ rows: all } = passBlock(all, block, decoding.heads));
    const found = connect(normalise(all, decoder.norm), decoder.layer("pixels"));
    const guesses = new Float32Array(SIDE * SIDE);
    pixelsOf.forEach((places, number) => places.forEach((place, k) => {
      guesses[place] = 255 * (card.mean + card.deviation * found[number * places.length + k]);
    }));
    return guesses;
  };

  return {
    card,
    classNames: card.classNames,
    ...sizes,
    across,
    patches,
    paints: Boolean(decoder),
    reads: card.reads,
    /** Read one image; at least one patch must be seen. */
    read(pixels, hidden = new Set()) {
      const seen = Array.from({ length: patches }, (_, number) => number)
        .filter((number) => !hidden.has(number));
      let rows = embed(pixels, seen);
      const looks = [];
      for (const block of encoder.blocks) {
        const passed = passBlock(rows, block, heads);
        rows = passed.rows;
        looks.push(passed.shares.map((shares) => spread(shares, seen)));
      }
      rows = normalise(rows, encoder.norm);
      const mean = new Float64Array(width);
      rows.forEach((value, k) => { mean[k % width] += value / seen.length; });
      const logits = connect(mean, encoder.layer("output"));
      return {
        logits, probabilities: softmax(logits), looks, guesses: decoder && paint(rows, seen),
      };
    },
  };
}
