// Teach the network in the page: fine-tune its last layer on a few drawings, and see what that makes
// it forget. Chapter 10 explains it. Nothing leaves the page.

import { make, paintImage, thumbnail } from "./views.js";
import { findBest, softmax } from "./forward.js";

const STEPS = 100;
const STEPS_A_FRAME = 4;
const MOST_EXAMPLES = 60;
const NEW = "something new …";
const SIDE = 28;

/**
 * One step of gradient descent on the mean cross-entropy of each group of examples.
 *
 * head is { weight: { shape, values }, bias: { shape, values } }, a group a list of { features,
 * label }. The rate is as large as is safe: the loss bends at most by half the features' square.
 */
export function learn(head, groups) {
  const [classes, length] = head.weight.shape;
  const weightSlope = new Float64Array(classes * length);
  const biasSlope = new Float64Array(classes);
  let [bend, count] = [0, 0];
  for (const group of groups.filter((examples) => examples.length > 0)) {
    for (const { features, label } of group) {
      const probabilities = softmax(applyHead(head, features));
      for (let row = 0; row < classes; row += 1) {
        const error = (probabilities[row] - (row === label ? 1 : 0)) / group.length;
        biasSlope[row] += error;
        const start = row * length;
        for (let k = 0; k < length; k += 1) weightSlope[start + k] += error * features[k];
      }
      bend += features.reduce((sum, value) => sum + value * value, 1);
      count += 1;
    }
  }
  const rate = count / (bend || 1);
  head.weight.values.forEach((value, k, all) => { all[k] = value - rate * weightSlope[k]; });
  head.bias.values.forEach((value, k, all) => { all[k] = value - rate * biasSlope[k]; });
}

/** The logits that a last layer makes of features. */
export function applyHead({ weight, bias }, features) {
  const [classes, length] = weight.shape;
  const logits = new Float64Array(classes);
  for (let row = 0; row < classes; row += 1) {
    let sum = bias.values[row];
    for (let k = 0; k < length; k += 1) sum += weight.values[row * length + k] * features[k];
    logits[row] = sum;
  }
  return logits;
}

/** The class that a last layer reads in features; -1 if its logits are not finite. */
const readOf = (head, features) => findBest(applyHead(head, features));

const nameRead = (head, features) => head.classNames[readOf(head, features)] ?? "nothing";

/** Whether a last layer can read every one of these examples. */
const isSound = (head, examples) => examples.every(({ features }) => readOf(head, features) >= 0);

/** A copy of a last layer with further classes; a new one starts as the mean of the others, so that
 * it is never the most likely before it has been taught. */
export function copyHead({ weight, bias, classNames }, more = []) {
  const [classes, length] = weight.shape;
  const names = [...classNames, ...more];
  const copy = {
    weight: { shape: [names.length, length], values: new Float32Array(names.length * length) },
    bias: { shape: [names.length], values: new Float32Array(names.length) },
    classNames: names,
  };
  copy.weight.values.set(weight.values);
  copy.bias.values.set(bias.values);
  for (let row = classes; row < names.length; row += 1) {
    for (let other = 0; other < classes; other += 1) {
      copy.bias.values[row] += bias.values[other] / classes;
      for (let k = 0; k < length; k += 1) {
        copy.weight.values[row * length + k] += weight.values[other * length + k] / classes;
      }
    }
  }
  return copy;
}

/** Read a picture of digits, a column a class: { image, name } each. */
async function loadDigits(address) {
  const picture = new Image();
  picture.src = address;
  await picture.decode();
  const canvas = make("canvas", { width: picture.width, height: picture.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const digits = [];
  for (let top = 0; top < picture.height; top += SIDE) {
    for (let left = 0; left < picture.width; left += SIDE) {
      const { data } = context.getImageData(left, top, SIDE, SIDE);
      const image = Uint8Array.from({ length: SIDE * SIDE }, (_, k) => data[4 * k]);
      digits.push({ image, name: String(left / SIDE) });
    }
  }
  return digits;
}

export class Lesson {
  /**
   * network() and image() return what reads now and what is drawn now; oldDigits is the address of
   * a picture. onKeep({ image, name }) is called when a drawing has been kept, onLearn() when the
   * network changed.
   */
  constructor({ network, image, oldDigits, onKeep, onLearn }) {
    Object.assign(this, { network, image, oldDigits, onKeep, onLearn });
    this.choice = make("select");
    this.choice.addEventListener("change", () => this.refresh());
    this.name = make("input", { type: "text", maxLength: 12, size: 8, autocomplete: "off" });
    this.naming = make("label", {}, "called ", this.name);
    this.keepButton = this.button("Keep this drawing", () => this.keep());
    this.trainButton = this.button("Train the last layer", () => this.train());
    this.resetButton = this.button("Start over", () => this.reset());
    this.rehearse = make("input", { type: "checkbox" });
    this.kept = make("ul", { className: "examples", "aria-label": "Your examples" });
    this.status = make("p", { role: "status", className: "said" });
    this.forgotten = make("ul", {
      className: "examples", "aria-label": "Old digits that it misreads now",
    });
    this.element = make("details", {},
      make("summary", {}, "Teach it"),
      make("div", { className: "folded" },
        make("p", {}, "Draw a digit that it misreads, or a sign of your own. Say what it is, and keep " +
          "it. Two or three examples of each are enough to start with."),
        make("div", { className: "row" },
          make("label", {}, "It is ", this.choice), this.naming, this.keepButton),
        this.kept,
        make("div", { className: "row" }, this.trainButton, this.resetButton,
          make("label", {}, this.rehearse, " rehearse 100 old digits with them")),
        this.status, this.forgotten));
    this.element.addEventListener("toggle", () => this.element.open && this.prepare());
    this.wanted = false; // whether somebody asked for the old digits
    this.examples = [];
    this.training = false;
    this.run = 0; // numbers the lessons: an old one stops when a new one starts
  }

  button(words, act) {
    const button = make("button", { type: "button" }, words);
    button.addEventListener("click", act);
    return button;
  }

  /** Another network reads: what was kept was for the one before. */
  begin() {
    this.run += 1;
    this.training = false;
    this.original = copyHead(this.network().head);
    this.examples = [];
    this.old = null;
    this.status.textContent = "";
    this.forgotten.replaceChildren();
    this.listChoices();
    this.show();
    if (this.wanted) this.prepare();
  }

  /** Work out once what the last layer sees of the old digits; without their picture, of none. */
  async prepare() {
    this.wanted = true;
    if (this.old) return;
    const run = this.run;
    this.digits ??= await loadDigits(this.oldDigits).catch(() => []);
    if (run !== this.run || this.old) return;
    const network = this.network();
    const all = this.digits.filter((digit) => network.classNames.includes(digit.name));
    this.old = all.map(({ image, name }) =>
      ({ image, features: network.featuresOf(image), label: network.classNames.indexOf(name) }));
    this.onLearn(); // the network has just read other images: let it read the drawing again
  }

  listChoices() {
    const { classNames } = this.network();
    const chosen = this.choice.value;
    this.choice.replaceChildren(...[...classNames, NEW].map((name) => make("option", {}, name)));
    if (classNames.includes(chosen)) this.choice.value = chosen;
    this.refresh();
  }

  refresh() {
    this.naming.hidden = this.choice.value !== NEW;
    this.trainButton.disabled = this.training || this.examples.length === 0;
    this.keepButton.disabled = this.training || this.examples.length >= MOST_EXAMPLES;
  }

  keep() {
    const image = this.image();
    if (!image) {
      this.status.textContent = "Draw something first.";
      return;
    }
    const name = this.choice.value === NEW ? this.name.value.trim() : this.choice.value;
    if (!name) {
      this.status.textContent = "Give your sign a name first.";
      this.name.focus();
      return;
    }
    const network = this.network();
    if (!network.classNames.includes(name)) {
      if (network.classNames.length >= 16) {
        this.status.textContent = "Six signs of your own are enough for one lesson.";
        return;
      }
      network.head = copyHead(network.head, [name]);
      this.listChoices();
      this.choice.value = name;
      this.refresh();
    }
    const features = network.featuresOf(image);
    this.examples.push({ image, name, features, label: network.classNames.indexOf(name) });
    this.status.textContent = `Kept: ${this.examples.length}.`;
    this.show();
    this.onKeep({ image, name });
  }

  /** Fine-tune the last layer, a few steps a frame. */
  async train() {
    await this.prepare();
    if (!this.old || this.examples.length === 0) return; // another network has come meanwhile
    const run = (this.run += 1);
    const network = this.network();
    const before = copyHead(network.head);
    const head = copyHead(network.head);
    // Half of the old digits may be rehearsed; the other half, never trained on here, is counted.
    const groups = [this.examples, this.rehearse.checked ? this.old.filter((_, k) => k % 20 < 10) : []];
    this.training = true; // nothing is kept meanwhile: it might be of a class that `head` lacks
    this.refresh();
    for (let step = 0; step < STEPS; step += 1) {
      learn(head, groups);
      if (step % STEPS_A_FRAME === STEPS_A_FRAME - 1) {
        await new Promise((frame) => { setTimeout(frame); });
        if (run !== this.run) return;
        this.status.textContent = `Step ${step + 1} of ${STEPS} …`;
        if (!isSound(head, groups.flat())) break;
      }
    }
    this.training = false;
    if (isSound(head, groups.flat())) {
      network.head = head;
      this.report(before, head);
    } else {
      this.status.textContent =
        "The lesson diverged: its numbers grew without bound. The last layer is as it was before.";
    }
    this.show();
    this.onLearn();
  }

  report(before, head) {
    const count = (layer, digits) =>
      digits.filter(({ features, label }) => readOf(layer, features) === label).length;
    const counted = this.old.filter((_, k) => k % 20 >= 10);
    const mine = this.examples;
    let text = `Of your ${mine.length} ${mine.length === 1 ? "example" : "examples"} it read ` +
      `${count(before, mine)} and now reads ${count(head, mine)}.`;
    if (counted.length > 0) {
      text += ` Of ${counted.length} old digits it read ${count(before, counted)} and now reads ` +
        `${count(head, counted)}.`;
    }
    if (this.digits.length === 0) {
      text += " The old digits could not be loaded, so what it forgets is not known.";
    }
    this.status.textContent = text;
    const wrong = counted.filter(({ features, label }) => readOf(head, features) !== label);
    this.forgotten.replaceChildren(...wrong.slice(0, 12).map(({ image, features, label }) =>
      thumbnail(image, `${head.classNames[label]}, read as ${nameRead(head, features)}`, true)));
    this.paint();
  }

  reset() {
    const network = this.network();
    network.head = copyHead(this.original);
    this.begin();
    this.status.textContent = "It is as it was before your lesson.";
    this.onLearn();
  }

  /** List the examples, each with what is read in it now. */
  show() {
    const { head } = this.network();
    this.kept.replaceChildren(...this.examples.map(({ image, name, features }) => {
      const read = nameRead(head, features);
      return thumbnail(image, read === name ? name : `${name}, read as ${read}`, read !== name);
    }));
    this.refresh();
    this.paint();
  }

  paint() {
    for (const canvas of this.element.querySelectorAll("canvas")) paintImage(canvas, canvas.image);
  }
}
