// A training that goes on a little at a time, wherever it runs: in a worker, or in the page.
//
//   const trainer = new Trainer(settings, train, validation);   // { images, labels } both
//   const report = trainer.advance(60);                         // work for about 60 milliseconds
//
// Settings: model, width, optimiser ("adam" or "sgd"), rate, batch, epochs, moved (digits are moved
// about), seed, and three ways to break it: atZero, sorted (no shuffling), mixed (labels).
// A report is what has become of it since the last one; `isOver` says that nothing will follow.

import { makeRandom } from "./chance.js";
import { Adam, Descent, createNetwork, writeNetwork } from "./train.js";

const SIDE = 28;
const PIXELS = SIDE * SIDE;
const FARTHEST = 2; // pixels by which a digit is moved
const READ_AT_ONCE = 50; // digits of the validation; so few that a page stays responsive

export class Trainer {
  constructor(settings, train, validation) {
    Object.assign(this, { settings: { ...settings }, train, validation });
    this.network = createNetwork(settings.model, settings);
    const Optimiser = settings.optimiser === "sgd" ? Descent : Adam;
    this.optimiser = new Optimiser(this.network.parameters);
    this.random = makeRandom(settings.seed + 1); // another one than drew the weights
    this.labels = settings.mixed
      ? this.random.order(train.labels.length).map((k) => train.labels[k]) : train.labels;
    this.epoch = 0;
    this.steps = 0;
    this.isOver = false;
    this.beginEpoch();
    this.beginReading(0); // of one that has learnt nothing
  }

  /** Change the rate, the batch or whether digits are moved while it runs. */
  change(settings) {
    Object.assign(this.settings, settings);
  }

  beginEpoch() {
    const count = this.train.labels.length;
    this.order = this.settings.sorted
      ? Uint32Array.from({ length: count }, (_, k) => k) : this.random.order(count);
    this.place = 0;
  }

  /** Read the other digits next: four times in the first epoch, then at the end of each. */
  beginReading(seen) {
    this.reading = { seen, place: 0, loss: 0, answers: new Uint8Array(this.validation.labels.length) };
    this.nextReading = seen < 1 ? Math.floor(4 * seen + 1) / 4 : Math.floor(seen) + 1;
  }

  /** Work for some milliseconds, or to the next score; at least one batch.
   *
   * Returns { steps, losses, filters, score, isOver }. */
  advance(milliseconds) {
    const end = performance.now() + milliseconds;
    const report = { losses: [] };
    do {
      if (this.reading) this.readSome(report);
      else this.learnSome(report);
    } while (!this.isOver && !report.score && performance.now() < end); // one score a report
    const first = this.network.layers[1];
    report.filters = { shape: first.weight.shape, values: Float32Array.from(first.weight.values) };
    return Object.assign(report, { steps: this.steps, isOver: this.isOver });
  }

  /** One batch: a step of gradient descent. */
  learnSome(report) {
    const { rate, batch } = this.settings;
    const chosen = this.order.subarray(this.place, this.place + batch);
    const images = new Uint8Array(chosen.length * PIXELS);
    chosen.forEach((digit, k) => {
      const image = this.train.images.subarray(digit * PIXELS, (digit + 1) * PIXELS);
      if (this.settings.moved) this.move(image, images.subarray(k * PIXELS));
      else images.set(image, k * PIXELS);
    });
    const loss = this.network.learn(images, Uint8Array.from(chosen, (digit) => this.labels[digit]));
    this.place += chosen.length;
    this.steps += 1;
    const seen = this.epoch + this.place / this.order.length; // in epochs
    report.losses.push({ seen, loss });
    if (!Number.isFinite(loss)) { // from here on every number would be NaN
      this.isOver = true;
      report.isBroken = true;
      return;
    }
    this.optimiser.step(rate);
    const isRead = seen >= this.nextReading;
    if (this.place === this.order.length) {
      this.epoch += 1;
      this.beginEpoch();
    }
    if (isRead) this.beginReading(seen);
  }

  /** Copy an image, moved by up to two pixels along and down; what leaves the sheet is lost. */
  move(image, target) {
    const [down, along] = [0, 1].map(() => this.random.below(2 * FARTHEST + 1) - FARTHEST);
    for (let y = Math.max(0, down); y < SIDE + Math.min(0, down); y += 1) {
      for (let x = Math.max(0, along); x < SIDE + Math.min(0, along); x += 1) {
        target[y * SIDE + x] = image[(y - down) * SIDE + x - along];
      }
    }
  }

  /** Read some of the other digits; after the last one, the score. */
  readSome(report) {
    const { images, labels } = this.validation;
    const { reading } = this;
    const end = Math.min(labels.length, reading.place + READ_AT_ONCE);
    const found = this.network.read(
      images.subarray(reading.place * PIXELS, end * PIXELS), labels.subarray(reading.place, end));
    reading.answers.set(found.answers, reading.place);
    reading.loss += found.loss * (end - reading.place);
    reading.place = end;
    if (end < labels.length) return;
    const right = reading.answers.reduce((sum, answer, k) => sum + (answer === labels[k]), 0);
    report.score = {
      epoch: reading.seen, accuracy: right / labels.length, loss: reading.loss / labels.length,
      answers: reading.answers, bytes: writeNetwork(this.network),
    };
    this.reading = null;
    this.isOver = this.epoch >= this.settings.epochs;
  }
}
