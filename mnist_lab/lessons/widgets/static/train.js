// Train the book's small networks from nothing: chapters 2 to 5 in JavaScript.
//
//   const network = createNetwork("quick_cnn", { width: 8, seed: 0 });
//   const optimiser = new Adam(network.parameters);
//   const loss = network.learn(images, labels);   // forwards and backwards: fills the gradients
//   optimiser.step(0.005);
//   const bytes = writeNetwork(network);          // a web export, which forward.js opens
//
// Images are 28 x 28 numbers from 0 to 255 each, one after the other. The networks are those of
// mnist_lab/models/basic.py, with the same names for the same parameters; `one_conv` is a single
// convolution as chapter 4 builds them from layers by hand.

import { BatchNorm, Convolution, Input, Linear, Pooling, Rectifier } from "./layers.js";
import { makeRandom } from "./chance.js";

const SIDE = 28;
export const MEAN = 0.1307; // of MNIST's training digits, as the next (chapter 1)
export const DEVIATION = 0.3081;
const CLASSES = 10;
const FORMAT = "mnist-lab web 1";

// --- Architectures --------------------------------------------------------------------------------
// Each takes the input and returns all layers in a row.

/** Three convolutions; for each its channels, its pooling and what follows, as in basic.py. */
function convolutional(input, firstPadding, stages) {
  const layers = [input];
  const add = (layer) => layers[layers.push(layer) - 1];
  let last = input;
  stages.forEach(([channels, pools], index) => {
    const number = index + 1;
    const [side, stride, padding] = index ? [3, 1, 1] : [5, 2, firstPadding];
    last = add(new Convolution(`conv${number}`, last, channels, side, stride, padding));
    if (pools) last = add(new Pooling(`pool${number}`, last));
    last = add(new BatchNorm(`norm${number}`, last));
    last = add(new Rectifier(`relu${number}`, last));
  });
  add(new Linear("output", last, CLASSES));
  return layers;
}

const ARCHITECTURES = {
  linear: (input) => [input, new Linear("output", input, CLASSES)],
  mlp: (input, width) => {
    const hidden = new Linear("hidden", input, width);
    const relu = new Rectifier("relu", hidden);
    return [input, hidden, relu, new Linear("output", relu, CLASSES)];
  },
  one_conv: (input, width) => {
    const convolution = new Convolution("conv1", input, width, 5, 2, 2, true);
    const relu = new Rectifier("relu1", convolution);
    const pooling = new Pooling("pool1", relu);
    return [input, convolution, relu, pooling, new Linear("output", pooling, CLASSES)];
  },
  quick_cnn: (input, width) =>
    convolutional(input, 0, [[width, true], [width, false], [2 * width, true]]),
  small_cnn: (input, width) =>
    convolutional(input, 2, [[width, false], [2 * width, true], [4 * width, true]]),
};

// --- A network ------------------------------------------------------------------------------------

/** A network that has learnt nothing; `width` is the number of hidden units or of first channels. */
export function createNetwork(model, { width = 0, seed = 0, atZero = false } = {}) {
  const input = new Input(SIDE);
  const layers = ARCHITECTURES[model](input, width);
  if (!atZero) drawWeights(layers, seed);
  return new Network(model, width, layers);
}

/** He's start (chapter 7): weights so spread that a ReLU's outputs are as large as its inputs. */
function drawWeights(layers, seed) {
  const random = makeRandom(seed);
  for (const { weight, fanIn } of layers.filter((layer) => layer.fanIn)) {
    const spread = Math.sqrt(2 / fanIn);
    weight.values.forEach((_, k, values) => { values[k] = spread * random.normal(); });
  }
}

class Network {
  constructor(model, width, layers) {
    Object.assign(this, { model, width, layers });
    this.parameters = layers.flatMap((layer) => layer.parameters);
  }

  /** Compute the logits of a batch: its numbers lie in the last layer's `values`. */
  forward(images, learning = false) {
    const count = images.length / (SIDE * SIDE);
    for (const layer of this.layers) layer.hold(count);
    const [input, ...others] = this.layers;
    const factor = 1 / (255 * DEVIATION);
    for (let k = 0; k < images.length; k += 1) {
      input.values[k] = images[k] * factor - MEAN / DEVIATION;
    }
    for (const layer of others) layer.forward(count, learning);
    return count;
  }

  /** One pass forwards and one backwards: the mean loss, and all gradients in the parameters. */
  learn(images, labels) {
    const count = this.forward(images, true);
    const { loss } = compare(this.layers.at(-1), labels, count);
    for (const layer of this.layers.slice(1).reverse()) layer.backward(count);
    return loss;
  }

  /** Read a batch: { loss, answers }, the mean loss and the class that was read in each image. */
  read(images, labels) {
    return compare(this.layers.at(-1), labels, this.forward(images));
  }
}

/** Softmax cross-entropy: the mean loss, and its gradient (p - y) / N, left in the layer. */
function compare(output, labels, count) {
  const { size, values, gradient } = output;
  const answers = new Uint8Array(count);
  let loss = 0;
  for (let image = 0; image < count; image += 1) {
    const start = image * size;
    let best = 0;
    for (let k = 1; k < size; k += 1) if (values[start + k] > values[start + best]) best = k;
    answers[image] = best;
    const largest = values[start + best]; // taken away, so that no power overflows
    let sum = 0;
    for (let k = 0; k < size; k += 1) sum += Math.exp(values[start + k] - largest);
    loss += Math.log(sum) - (values[start + labels[image]] - largest);
    for (let k = 0; k < size; k += 1) {
      const probability = Math.exp(values[start + k] - largest) / sum;
      gradient[start + k] = (probability - (k === labels[image] ? 1 : 0)) / count;
    }
  }
  return { loss: loss / count, answers };
}

// --- Optimisers -----------------------------------------------------------------------------------

/** Gradient descent with momentum: a velocity that remembers a share of the steps before. */
export class Descent {
  constructor(parameters, momentum = 0.9) {
    Object.assign(this, { parameters, momentum });
    this.velocities = parameters.map(({ values }) => new Float64Array(values.length));
  }

  step(rate) {
    this.parameters.forEach(({ values, gradient }, number) => {
      const velocity = this.velocities[number];
      for (let k = 0; k < values.length; k += 1) {
        velocity[k] = this.momentum * velocity[k] + gradient[k];
        values[k] -= rate * velocity[k];
      }
    });
  }
}

/** Adam (chapter 3): steps of about the same size for every weight, whatever its gradient's. */
export class Adam {
  constructor(parameters, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8) {
    Object.assign(this, { parameters, beta1, beta2, epsilon, steps: 0 });
    this.means = parameters.map(({ values }) => new Float64Array(values.length));
    this.meanSquares = parameters.map(({ values }) => new Float64Array(values.length));
  }

  step(rate) {
    const { beta1, beta2, epsilon } = this;
    this.steps += 1;
    // The running means start at zero; divided by these they are means of what there has been.
    const [known1, known2] = [1 - beta1 ** this.steps, 1 - beta2 ** this.steps];
    this.parameters.forEach(({ values, gradient }, number) => {
      const [mean, meanSquare] = [this.means[number], this.meanSquares[number]];
      for (let k = 0; k < values.length; k += 1) {
        const slope = gradient[k];
        mean[k] = beta1 * mean[k] + (1 - beta1) * slope;
        meanSquare[k] = beta2 * meanSquare[k] + (1 - beta2) * slope * slope;
        values[k] -= (rate * (mean[k] / known1)) / (Math.sqrt(meanSquare[k] / known2) + epsilon);
      }
    });
  }
}

// --- What becomes of it ---------------------------------------------------------------------------

/** Write a network as `python -m mnist_lab export --format web` does: safetensors with a card. */
export function writeNetwork(network) {
  const card = {
    format: FORMAT,
    model: network.model,
    normalisation: { mean: MEAN, deviation: DEVIATION },
    input_size: [SIDE, SIDE],
    class_names: Array.from({ length: CLASSES }, (_, k) => String(k)),
  };
  const tensors = network.parameters.map(({ name, shape, values }) => ({ name, shape, values }));
  for (const layer of network.layers.filter((one) => one.runningMean)) {
    const shape = [layer.channels];
    tensors.push({ name: `${layer.name}.running_mean`, shape, values: layer.runningMean });
    tensors.push({ name: `${layer.name}.running_var`, shape, values: layer.runningVariance });
  }
  const header = { __metadata__: { card: JSON.stringify(card) } };
  let end = 0;
  for (const { name, shape, values } of tensors) {
    header[name] = { dtype: "F32", shape, data_offsets: [end, (end += 4 * values.length)] };
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const start = 8 + Math.ceil(text.length / 8) * 8; // numbers begin at a multiple of 8
  const bytes = new Uint8Array(start + end).fill(32, 8, start);
  new DataView(bytes.buffer).setUint32(0, start - 8, true);
  bytes.set(text, 8);
  let place = start;
  for (const { values } of tensors) {
    new Float32Array(bytes.buffer, place, values.length).set(values);
    place += 4 * values.length;
  }
  return bytes;
}
