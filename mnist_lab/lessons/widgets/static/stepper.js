// Gradient descent one step at a time, with every number of the step: chapters 2 to 4.
//
//   const stepper = new Stepper("linear", { train, validation }, { rate: 0.03, batch: 10 });
//   stepper.digit(0);                   // what the network makes of the first digit of the step
//   stepper.step();                     // W <- W - rate dW
//   stepper.loss, stepper.lossAfter     // of the same digits, before and after
//
// A stepper holds the digits of a step, all numbers on the way forwards and back as they were before
// it, and, once it is taken, those after it. The sums are those of layers.js and train.js.

import { makeRandom } from "./chance.js";
import { Descent, createNetwork } from "./train.js";

const PIXELS = 784;
const READ_AT_ONCE = 50; // of the other digits

/** What can be stepped through. Of seven rates each has the one that led furthest in 200 steps of ten
 * digits, by the other digits and from two starts. */
export const NETWORKS = {
  linear: { model: "linear", width: 0, atZero: true, rate: 0.03 }, // from zero, as in chapter 2
  mlp: { model: "mlp", width: 8, atZero: false, rate: 0.03 },
  cnn: { model: "one_conv", width: 4, atZero: false, rate: 0.1 },
};

export class Stepper {
  /** Settings: rate, batch (digits of a step), keeps (the same digits in every step), seed. */
  constructor(kind, { train, validation }, settings = {}) {
    const { model, width, atZero, rate } = NETWORKS[kind];
    Object.assign(this, { kind, train, validation });
    this.settings = { rate, batch: 10, keeps: false, seed: 0, ...settings };
    const { seed } = this.settings;
    this.network = createNetwork(model, { width, seed, atZero });
    this.descent = new Descent(this.network.parameters, 0); // without momentum: plain descent
    this.random = makeRandom(seed + 1); // another one than drew the weights
    this.order = new Uint32Array(0);
    this.place = 0;
    this.steps = 0;
    this.isBroken = false;
    this.draw();
  }

  /** Change settings; another number of digits is drawn at once where no step has been taken. */
  change(settings) {
    Object.assign(this.settings, settings);
    if ("batch" in settings) this.isStale = true;
    if (this.isStale && !this.isTaken) this.draw();
  }

  /** Draw the digits of the next step, each of them once before any comes again. */
  draw() {
    const count = this.train.labels.length;
    const chosen = Uint32Array.from({ length: Math.min(count, this.settings.batch) }, () => {
      if (this.place === this.order.length) {
        this.order = this.random.order(count);
        this.place = 0;
      }
      this.place += 1;
      return this.order[this.place - 1];
    });
    this.images = new Uint8Array(chosen.length * PIXELS);
    chosen.forEach((digit, k) => this.images.set(this.imageOf(digit), k * PIXELS));
    this.labels = Uint8Array.from(chosen, (digit) => this.train.labels[digit]);
    this.isStale = false;
    this.look();
  }

  imageOf(digit) {
    return this.train.images.subarray(digit * PIXELS, (digit + 1) * PIXELS);
  }

  /** Forwards and backwards, without a step: everything that the step will need, and its numbers. */
  look() {
    this.loss = this.network.learn(this.images, this.labels);
    this.isTaken = false;
    this.lossAfter = null;
    const count = this.labels.length;
    this.found = this.network.layers.map(({ size, values, gradient }) => ({
      size, values: values.slice(0, count * size), gradient: gradient.slice(0, count * size),
    }));
    this.parameters = this.network.parameters.map(({ name, shape, values, gradient }) => ({
      name, shape, before: values.slice(), gradient: gradient.slice(), after: null,
    }));
    this.isBroken = !Number.isFinite(this.loss);
  }

  /** Take a step, with new digits if the last ones have had theirs. */
  step() {
    if (this.isTaken) {
      if (this.settings.keeps && !this.isStale) this.look();
      else this.draw();
    }
    if (this.isBroken) return;
    const { rate } = this.settings;
    this.rate = rate;
    this.descent.step(rate);
    this.steps += 1;
    this.isTaken = true;
    const { loss, answers } = this.network.read(this.images, this.labels);
    Object.assign(this, { lossAfter: loss, answersAfter: answers });
    this.outputsAfter = this.network.layers.at(-1).values.slice(0, this.labels.length * 10);
    this.network.parameters.forEach(({ values }, k) => {
      this.parameters[k].after = values.slice();
    });
    this.isBroken = !Number.isFinite(loss);
  }

  /** A parameter by its name: { shape, before, gradient, after }; after is null before the step. */
  parameter(name) {
    return this.parameters.find((one) => one.name === name);
  }

  /** The numbers of a layer for one digit: { values, gradient }, of this digit's own loss. */
  ofLayer(number, digit) {
    const { size, values, gradient } = this.found.at(number);
    const part = (numbers) => numbers.subarray(digit * size, (digit + 1) * size);
    // What the layers hold is the gradient of the mean over the digits of the step.
    const count = this.labels.length;
    return { values: part(values), gradient: part(gradient).map((slope) => slope * count) };
  }

  /** What the network made of a digit: the logits, its answer, probabilities, p - y,
   * and the logits after the step. */
  digit(number) {
    const { values: logits, gradient } = this.ofLayer(-1, number);
    const label = this.labels[number];
    return {
      label, logits, gradient,
      answer: logits.indexOf(Math.max(...logits)),
      image: this.images.subarray(number * PIXELS, (number + 1) * PIXELS),
      probabilities: gradient.map((slope, k) => slope + (k === label ? 1 : 0)),
      after: this.isTaken ? this.outputsAfter.subarray(number * 10, (number + 1) * 10) : null,
    };
  }

  /** How the loss of one digit alone changes with a weight of the first layer. */
  ownGradient(unit, place, digit) {
    const first = this.network.layers[1];
    const { values: pixels } = this.ofLayer(0, digit);
    const { gradient: slopes } = this.ofLayer(1, digit);
    if (!first.sources) return slopes[unit] * pixels[place];
    let sum = 0;
    for (let where = 0; where < first.area; where += 1) {
      const source = first.sources[where * first.length + place];
      if (source >= 0) sum += slopes[unit * first.area + where] * pixels[source];
    }
    return sum;
  }

  /** Read the other digits, some at a time: yields null until the score is known. */
  *readOthers() {
    const { images, labels } = this.validation;
    let [loss, right] = [0, 0];
    for (let start = 0; start < labels.length; start += READ_AT_ONCE) {
      const some = labels.subarray(start, start + READ_AT_ONCE);
      const found = this.network.read(
        images.subarray(start * PIXELS, (start + some.length) * PIXELS), some);
      loss += found.loss * some.length;
      found.answers.forEach((answer, k) => { right += answer === some[k] ? 1 : 0; });
      if (start + READ_AT_ONCE < labels.length) yield null;
    }
    yield { loss: loss / labels.length, accuracy: right / labels.length, count: labels.length };
  }
}
