// The forward pass of the book's small networks, every number of it kept for the views.
//
//   const network = openNetwork(bytes);      // what `python -m mnist_lab export --format web` wrote
//   const { steps, logits, probabilities } = network.read(image);   // Uint8Array, 28 x 28
//
// A step is { name, kind, channels, height, width, values }: the numbers after one layer. Its values
// are a buffer that the next reading overwrites. The layers are those of mnist_lab/models/.

import { demand, readSafetensors, shorten } from "./safetensors.js";

const SIDE = 28;
const FORMAT = "mnist-lab web 1";
const NORM_EPSILON = 1e-5; // PyTorch's
const MOST_CLASSES = 64;
const MOST_STEPS = 20_000_000; // multiplications; small_cnn of width 24 has 4 million
const LARGEST = 1e38; // number after a layer; those of float32 end at 3.4e38

// --- Layers ---------------------------------------------------------------------------------------
// Each takes the step before it and returns its own step, with run() to fill it, and with `most`:
// none of its numbers is ever farther from zero, whatever is drawn.

const makeStep = (name, kind, channels, height, width, most, run) => {
  const step = { name, kind, channels, height, width, most };
  step.values = new Float32Array(channels * height * width);
  step.run = run ?? (() => {});
  return step;
};

/** How many times as large as its inputs a layer's sums can be: [out, ...] weights, added unsigned. */
function gainOf({ shape, values }) {
  const sums = new Float64Array(shape[0]);
  const length = values.length / shape[0];
  values.forEach((value, k) => { sums[Math.floor(k / length)] += Math.abs(value); });
  return largestOf(sums);
}

const largestOf = (values) => values.reduce((most, value) => Math.max(most, value), -Infinity);

/** Convolution without bias; weight has the shape [out, in, k, k]. */
export function convolve(name, input, weight, stride, padding) {
  const [channels, depth, size] = weight.shape;
  const height = Math.floor((input.height + 2 * padding - size) / stride) + 1;
  const width = Math.floor((input.width + 2 * padding - size) / stride) + 1;
  const length = depth * size * size;
  const patch = new Float64Array(length); // what the kernels see at one place
  const kernels = Float64Array.from(weight.values);

  /** Copy what lies under the kernels at (row, column) of the output into `patch`. */
  const look = (row, column) => {
    const { values, height: inputHeight, width: inputWidth } = input;
    let place = 0;
    for (let channel = 0; channel < depth; channel += 1) {
      const start = channel * inputHeight * inputWidth;
      for (let dy = 0; dy < size; dy += 1) {
        const y = row * stride + dy - padding;
        const inside = y >= 0 && y < inputHeight;
        for (let dx = 0; dx < size; dx += 1, place += 1) {
          const x = column * stride + dx - padding;
          patch[place] =
            inside && x >= 0 && x < inputWidth ? values[start + y * inputWidth + x] : 0;
        }
      }
    }
    return patch;
  };

  const most = gainOf(weight) * input.most;
  const step = makeStep(name, "convolution", channels, height, width, most, () => {
    const { values } = step;
    const area = height * width;
    for (let row = 0; row < height; row += 1) {
      for (let column = 0; column < width; column += 1) {
        look(row, column);
        const place = row * width + column;
        let channel = 0;
        for (; channel + 3 < channels; channel += 4) {
          // Four kernels at a time: each number of the patch is fetched once for all of them.
          const one = channel * length;
          const [two, three, four] = [one + length, one + 2 * length, one + 3 * length];
          let [a, b, c, d] = [0, 0, 0, 0];
          for (let k = 0; k < length; k += 1) {
            const value = patch[k];
            a += value * kernels[one + k];
            b += value * kernels[two + k];
            c += value * kernels[three + k];
            d += value * kernels[four + k];
          }
          const target = channel * area + place;
          values[target] = a;
          values[target + area] = b;
          values[target + 2 * area] = c;
          values[target + 3 * area] = d;
        }
        for (; channel < channels; channel += 1) {
          let sum = 0;
          for (let k = 0; k < length; k += 1) sum += patch[k] * kernels[channel * length + k];
          values[channel * area + place] = sum;
        }
      }
    }
  });
  return Object.assign(step, { look, weight, size, input });
}

/** The largest of each 2x2 values; an odd last row or column is left out, as in PyTorch. */
function pool(name, input) {
  const height = Math.floor(input.height / 2);
  const width = Math.floor(input.width / 2);
  const step = makeStep(name, "max pooling", input.channels, height, width, input.most, () => {
    const across = input.width;
    let place = 0;
    for (let channel = 0; channel < input.channels; channel += 1) {
      for (let row = 0; row < height; row += 1) {
        let from = channel * input.height * across + 2 * row * across;
        for (let column = 0; column < width; column += 1, place += 1, from += 2) {
          const { values } = input;
          step.values[place] = Math.max(
            values[from], values[from + 1], values[from + across], values[from + across + 1],
          );
        }
      }
    }
  });
  return step;
}

/** Batch norm with its running statistics, and ReLU: one multiplication and one addition a number.
 *
 * It is not folded into the convolution before it, since pooling stands between the two, and the
 * largest of four numbers would be another one after a negative scale. */
function normalise(name, input, tensors) {
  const part = (key) => tensors.get(`${name}.${key}`).values;
  const [weight, bias, mean, variance] = [
    part("weight"), part("bias"), part("running_mean"), part("running_var"),
  ];
  demand(variance.every((value) => value >= 0), `${name} has a variance below zero.`);
  const scale = Float64Array.from(weight, (w, c) => w / Math.sqrt(variance[c] + NORM_EPSILON));
  const shift = Float64Array.from(bias, (b, c) => b - mean[c] * scale[c]);
  const { channels, height, width } = input;
  const area = height * width;
  const most = largestOf(scale.map((value, c) => Math.abs(value) * input.most + Math.abs(shift[c])));
  const step = makeStep(name, "batch norm and ReLU", channels, height, width, most, () => {
    for (let channel = 0, place = 0; channel < channels; channel += 1) {
      for (const end = place + area; place < end; place += 1) {
        step.values[place] = Math.max(0, input.values[place] * scale[channel] + shift[channel]);
      }
    }
  });
  return step;
}

/** A linear layer over all numbers of the step before; weight [out, in], with ReLU if asked for. */
function connect(name, input, { weight, bias }, relu = false) {
  const [count, length] = weight.shape;
  const most = gainOf(weight) * input.most + largestOf(bias.values.map(Math.abs));
  const step = makeStep(name, relu ? "linear and ReLU" : "linear", count, 1, 1, most, () => {
    for (let row = 0, place = 0; row < count; row += 1) {
      let sum = bias.values[row];
      for (let k = 0; k < length; k += 1, place += 1) sum += weight.values[place] * input.values[k];
      step.values[row] = relu ? Math.max(0, sum) : sum;
    }
  });
  return Object.assign(step, { weight, bias, input });
}

const linearOf = (name, tensors) =>
  ({ weight: tensors.get(`${name}.weight`), bias: tensors.get(`${name}.bias`) });

// --- Architectures --------------------------------------------------------------------------------
// Each says which shapes it needs, given the shapes in the file, and lays its layers in a row.

/** Three convolutions, the first of 5x5 with a stride of 2 and so much padding, the others of 3x3,
 * each with batch norm and ReLU, and a linear layer. For each convolution: its channels as a multiple
 * of the first's, and whether pooling follows it. */
function convolutional(firstPadding, stages) {
  return {
    shapes: (side, classes) => {
      const width = side("conv1.weight");
      const counts = stages.map(([times]) => times * width);
      const shapes = {};
      counts.forEach((count, index) => {
        const kernel = index ? [counts[index - 1], 3, 3] : [1, 5, 5];
        shapes[`conv${index + 1}.weight`] = [count, ...kernel];
        for (const key of ["weight", "bias", "running_mean", "running_var"]) {
          shapes[`norm${index + 1}.${key}`] = [count];
        }
      });
      const last = 9 * counts.at(-1); // 3 x 3 places
      return { ...shapes, "output.weight": [classes, last], "output.bias": [classes] };
    },
    layers: (image, tensors) => {
      const steps = [];
      const add = (step) => steps[steps.push(step) - 1];
      let last = image;
      stages.forEach(([, pools], index) => {
        const number = index + 1;
        const [stride, padding] = index ? [1, 1] : [2, firstPadding];
        const weight = tensors.get(`conv${number}.weight`);
        last = add(convolve(`conv${number}`, last, weight, stride, padding));
        if (pools) last = add(pool(`pool${number}`, last));
        last = add(normalise(`norm${number}`, last, tensors));
      });
      add(connect("output", last, linearOf("output", tensors)));
      return steps;
    },
  };
}

const ARCHITECTURES = {
  linear: {
    shapes: (side, classes) => ({ "output.weight": [classes, SIDE * SIDE], "output.bias": [classes] }),
    layers: (image, tensors) => [connect("output", image, linearOf("output", tensors))],
  },
  mlp: {
    shapes: (side, classes) => ({
      "hidden.weight": [side("hidden.weight"), SIDE * SIDE],
      "hidden.bias": [side("hidden.weight")],
      "output.weight": [classes, side("hidden.weight")],
      "output.bias": [classes],
    }),
    layers: (image, tensors) => {
      const hidden = connect("hidden", image, linearOf("hidden", tensors), true);
      return [hidden, connect("output", hidden, linearOf("output", tensors))];
    },
  },
  quick_cnn: convolutional(0, [[1, true], [1, false], [2, true]]),
  small_cnn: convolutional(2, [[1, false], [2, true], [4, true]]),
};

// --- A whole network ------------------------------------------------------------------------------

/** Open the bytes of a web export; throws a FileError with one sentence if they are none. */
export function openNetwork(bytes) {
  const { metadata, tensors } = readSafetensors(bytes);
  const card = readCard(metadata.get("card"), Object.keys(ARCHITECTURES));
  const architecture = ARCHITECTURES[card.model];
  const shapes = architecture.shapes(
    (name) => tensors.get(name)?.shape[0] ?? 0, card.classNames.length,
  );
  if (card.bits) unpackAll(tensors, shapes, card.bits);
  checkShapes(card, tensors, shapes);
  const most = Math.max(Math.abs(card.mean), Math.abs(1 - card.mean)) / card.deviation;
  const image = makeStep("image", "normalised image", 1, SIDE, SIDE, most);
  const steps = [image, ...architecture.layers(image, tensors)];
  for (const step of steps) {
    demand(step.most <= LARGEST, // nor NaN
      `The file's ${step.name} can give numbers too large to read with.`);
  }
  const work = steps.reduce((sum, step) => sum + costOf(step), 0);
  demand(work <= MOST_STEPS, "The network is too large to follow a pen on this page.");

  return {
    card,
    steps,
    classNames: card.classNames,
    /** The last layer as it is now: { weight, bias, classNames }. */
    get head() {
      const { weight, bias } = steps.at(-1);
      return { weight, bias, classNames: this.classNames };
    },
    /** Put another last layer in its place; its classes may be more. */
    set head({ weight, bias, classNames }) {
      steps[steps.length - 1] = connect("output", steps.at(-1).input, { weight, bias });
      this.classNames = classNames;
    },
    /** What the last layer sees of an image: a copy of its inputs. */
    featuresOf(pixels) {
      this.read(pixels);
      return Float32Array.from(steps.at(-1).input.values);
    },
    /** Read one image (28 x 28 numbers from 0 to 255). */
    read(pixels) {
      const factor = 1 / (255 * card.deviation);
      for (let k = 0; k < image.values.length; k += 1) {
        image.values[k] = pixels[k] * factor - card.mean / card.deviation;
      }
      for (const step of steps) step.run();
      const logits = steps.at(-1).values;
      return { steps, logits, probabilities: softmax(logits) };
    },
  };
}

function costOf(step) {
  const perNumber = step.weight ? step.weight.values.length / step.channels : 1;
  return step.values.length * perNumber;
}

/** What a file says of its network; `known` are the architectures that can be computed here. */
export function readCard(text, known) {
  let card = null;
  try {
    card = JSON.parse(text);
  } catch {
    // Said in the next line.
  }
  demand(
    card?.format === FORMAT,
    "The file was not written by python -m mnist_lab export --format web (of this version).",
  );
  const { model, normalisation, input_size: size, class_names: names } = card;
  demand(known.includes(model),
    `This page cannot compute the architecture ${shorten(model)}.`);
  demand(Array.isArray(size) && size[0] === SIDE && size[1] === SIDE,
    "The model takes images of another size than 28x28.");
  demand(
    Array.isArray(names) && names.length >= 2 && names.length <= MOST_CLASSES &&
      names.every((name) => typeof name === "string" && name.trim().length > 0 && name.length <= 24),
    "The model's classes have no names that a page could show.",
  );
  demand(new Set(names).size === names.length, "Two of the model's classes have the same name.");
  const { bits } = card;
  demand(bits === undefined || (Number.isInteger(bits) && bits >= 2 && bits <= 8),
    "The model's weights have a number of bits that this page cannot read.");
  const { mean, deviation } = normalisation ?? {};
  demand(Number.isFinite(mean) && Number.isFinite(deviation) && deviation > 1e-6,
    "The file's description of its model cannot be read.");
  const { arguments: sizes, decoder, reads, scores } = card; // of a transformer
  const whole = { model, bits, mean, deviation, classNames: names.slice() };
  return { ...whole, arguments: sizes, decoder, reads, scores };
}

/** Put weights in place of levels: rows of whole numbers of a few bits, each times its scale. */
export function unpackAll(tensors, shapes, bits) {
  for (const [name, shape] of Object.entries(shapes)) {
    const packed = tensors.get(name);
    if (!(packed?.values instanceof Uint8Array)) continue;
    const scales = tensors.get(`${name}.scale`)?.values;
    const [rows, length] = [shape[0], shape.slice(1).reduce((all, side) => all * side, 1)];
    const across = Math.ceil(length * bits / 8);
    demand(scales?.length === rows && packed.shape.length === 2 && packed.shape[1] === across,
      `${name} does not hold ${rows} x ${length} weights of ${bits} bits.`);
    const values = new Float32Array(rows * length);
    const [mask, top] = [2 ** bits - 1, 2 ** (bits - 1) - 1];
    for (let row = 0, place = 0; row < rows; row += 1) {
      for (let k = 0; k < length; k += 1, place += 1) {
        const byte = row * across + (k * bits >> 3); // a level may reach into the next one
        const both = packed.values[byte] | (packed.values[byte + 1] << 8);
        values[place] = (((both >> (k * bits & 7)) & mask) - top) * scales[row];
      }
    }
    tensors.set(name, { shape, values });
    tensors.delete(`${name}.scale`);
  }
}

/** Demand that a file holds tensors of these shapes, and no others. */
export function checkShapes(card, tensors, expected) {
  for (const [name, shape] of Object.entries(expected)) {
    const found = tensors.get(name)?.shape;
    demand(found, `${name} is missing, so this is no ${card.model}.`);
    demand(
      found.length === shape.length && found.every((length, axis) => length === shape[axis]) &&
        !shape.includes(0),
      `${name} has the shape ${shorten(found.join(" x "))}; ${shape.join(" x ")} was expected.`,
    );
  }
  const unknown = [...tensors.keys()].find((name) => !Object.hasOwn(expected, name));
  demand(unknown === undefined, `${shorten(unknown)} is unknown to a ${card.model}.`);
}

/** Where the largest number is; -1 if there is none, or if one of them is not finite. */
export function findBest(values) {
  return values.every(Number.isFinite) ? values.indexOf(largestOf(values)) : -1;
}

/** Probabilities (Float64Array) of logits. */
export function softmax(logits) {
  const largest = largestOf(logits);
  const powers = Float64Array.from(logits, (value) => Math.exp(value - largest));
  const sum = powers.reduce((total, value) => total + value, 0);
  return powers.map((value) => value / sum);
}
