// The panel that takes gradient steps, one a click, and shows every number of each.

import { NETWORKS, Stepper } from "./stepper.js";
import { DigitsView, GridView, TableView, write } from "./step-views.js";
import { CurveView } from "./training-views.js";
import { make, whenColoursChange } from "./views.js";
import padCss from "./digit-pad.css";
import trainingCss from "./train-here.css";
import css from "./step-here.css";

const RATES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1];
const BATCHES = [1, 10, 100];
const PAUSE = 50; // milliseconds between two steps that run
const SLICE = 12; // milliseconds of a frame that reading the other digits may take
const MOST_STEPS = 400; // of one run
const SELDOM = 10; // while it runs, numbers and the score are shown anew after so many steps
const FIRST_RANGE = 50; // steps of the curve; it doubles when they are over
const SIDE = 28;
const share = (value) => `${(100 * value).toFixed(1)} %`;
const times = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

/** What is shown of the first layer's weights: how they are called, and how their pictures lie. */
const WORDS = {
  linear: {
    title: "a linear classifier", columns: 5, unit: (k) => `class ${k}`,
    weights: "The ten templates now, one picture of 784 weights for each class.",
    change: "What this step adds to them, −η dW.",
  },
  mlp: {
    title: "a network with one hidden layer", columns: 4, unit: (k) => `hidden unit ${k}`,
    weights: "The weights of the eight hidden units now, 784 each.",
    change: "What this step adds to them, −η dW.",
  },
  cnn: {
    title: "a small convolutional network", columns: 4, unit: (k) => `kernel ${k}`,
    weights: "The four kernels of 5×5 now.",
    change: "What this step adds to them, −η dw.",
  },
};

let count = 0; // for identifiers, which must differ between the panels of a page

export class StepPanel {
  /** Build the panel inside `root`, a shadow root. `kind` is a key of NETWORKS, `digits` a promise of
   * { train, validation }. */
  constructor(root, { kind, digits }) {
    Object.assign(this, { kind, digits, stepper: null, score: null, running: null, asked: null });
    this.words = WORDS[kind];
    this.settings = { rate: NETWORKS[kind].rate, batch: 10, keeps: false };
    this.digit = 0; // of the step's, whose numbers are shown
    this.chosen = { unit: 0, place: kind === "cnn" ? 12 : 14 * SIDE + 14 }; // a weight of the first layer
    this.id = `step-here-${(count += 1)}`;
    this.buildControls();
    this.buildViews();
    root.append(make("style", { textContent: padCss + trainingCss + css }),
      make("div", {
        className: "stepping", role: "group", "aria-label": `Take steps with ${this.words.title}`,
      }, this.controls, this.progress, this.status, this.views));
    this.visibility = () => { if (document.hidden) this.pause("Paused, as the page was out of sight."); };
    document.addEventListener("visibilitychange", this.visibility);
    this.stopWatching = whenColoursChange(() => this.pictures.forEach((view) => view.paint()));
    this.ready = this.begin("");
  }

  // --- What it is built of ------------------------------------------------------------------------

  buildControls() {
    const button = (words, act) => {
      const made = make("button", { type: "button", disabled: true }, words);
      made.addEventListener("click", act);
      return made;
    };
    this.oneButton = button("One step", () => this.take(1));
    this.oneButton.className = "first";
    this.tenButton = button("Ten steps", () => this.take(10));
    this.runButton = button("Run", () => (this.running ? this.pause("Paused") : this.run()));
    this.anewButton = button("Start anew", () => this.begin("It starts anew, with the same digits " +
      "in the same order."));
    const select = (words, name, values) => {
      const control = make("select", { "aria-label": words },
        ...values.map((value) => make("option", { value: String(value) }, String(value))));
      control.value = String(this.settings[name]);
      control.addEventListener("change", () => this.choose({ [name]: Number(control.value) }));
      return make("label", {}, words, control);
    };
    const keeps = make("input", { type: "checkbox" });
    keeps.addEventListener("change", () => this.choose({ keeps: keeps.checked }));
    this.controls = make("div", { className: "controls" },
      make("div", { className: "row" },
        this.oneButton, this.tenButton, this.runButton, this.anewButton),
      make("div", { className: "settings" },
        select("Learning rate η", "rate", RATES),
        select("Digits in a step", "batch", BATCHES),
        make("label", { className: "tick" }, keeps, "The same digits again")));
  }

  buildViews() {
    const { columns } = this.words;
    this.status = make("p", { className: "unseen", role: "status" });
    this.stepWords = make("span", { className: "accuracy" });
    this.where = make("span", { className: "where" }, "The digits are being read …");
    this.progress = make("p", { className: "progress" }, this.stepWords, this.where);
    this.losses = new CurveView({
      title: "Loss after each step: grey of its own digits, blue of 500 others", top: 4,
      ticks: [0, 1, 2, 3, 4], write: String, lines: ["batch", "others"],
    });
    this.digitsView = new DigitsView((number) => this.lookAt(number));
    this.outputs = new TableView("", ["class", "logit z", "p", "label y", "p − y", "z after"]);
    const ask = (unit, place, isKey) => this.askFor(unit, place, isKey);
    this.weights = new GridView({ columns, ask });
    this.change = new GridView({ columns, ask });
    this.sentence = make("p", { className: "pixel" });
    this.pictures = [this.weights, this.change, this.digitsView];
    this.views = make("div", { className: "views", hidden: true },
      make("div", { className: "wide" }, this.digitsView.element),
      this.outputs.element, this.losses.element,
      this.weights.element, this.change.element,
      make("div", { className: "wide sentence" }, this.sentence),
      ...(this.kind === "mlp" ? this.buildHidden() : []),
      ...(this.kind === "cnn" ? this.buildMaps() : []));
  }

  /** A hidden layer: its numbers forwards and back, and what one of its units says to the classes. */
  buildHidden() {
    this.hidden = new TableView("", ["unit", "sum z", "h", "dh", "dz"]);
    this.outgoing = new TableView("", ["class", "weight", "gradient", "after"]);
    return [this.hidden.element, this.outgoing.element];
  }

  /** A convolution: the numbers of a kernel, its maps, and what comes back to them. */
  buildMaps() {
    this.numbers = ["weights before", "gradient dw", "weights after"].map((words) =>
      ({ words, view: new TableView("", ["", "0", "1", "2", "3", "4"]) }));
    this.maps = ["values", "pooled", "gradient"].map((what) =>
      ({ what, view: new GridView({ columns: 4 }) }));
    this.pictures.push(...this.maps.map(({ view }) => view));
    return [
      make("div", { className: "wide kernels" }, ...this.numbers.map(({ view }) => view.element)),
      ...this.maps.map(({ view }) => view.element)];
  }

  // --- The reader's hand --------------------------------------------------------------------------

  choose(settings) {
    Object.assign(this.settings, settings);
    if (!this.stepper) return;
    const isFresh = !this.stepper.isTaken;
    this.stepper.change(settings);
    if ("batch" in settings && isFresh) this.digit = 0;
    if (isFresh) this.show();
  }

  async begin(words) {
    this.stop();
    const digits = await this.digits;
    if (this.isClosed) return;
    this.stepper = new Stepper(this.kind, digits, this.settings);
    Object.assign(this, { digit: 0, score: null, range: FIRST_RANGE, history: [] });
    this.losses.begin(this.range);
    this.views.hidden = false;
    this.show();
    if (words) this.tell(words);
    await this.readOthers();
  }

  /** Some steps at once; all but the last are only counted and drawn into the curve. */
  async take(number) {
    this.stop();
    for (let k = 0; k < number && !this.stepper.isBroken; k += 1) this.step();
    this.show();
    const { steps, loss, lossAfter, labels } = this.stepper;
    this.tell(this.stepper.isBroken ? this.where.textContent
      : `Step ${steps}: loss of its ${times(labels.length, "digit")} ${write(loss)} before, ` +
        `${write(lossAfter)} after.`);
    await this.readOthers();
  }

  /** Step after step, until it is paused; numbers are shown now and then. */
  async run() {
    this.stop();
    const run = (this.running = {});
    this.tell("It takes step after step.");
    this.refresh();
    const isCalm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    for (let k = 1; k <= MOST_STEPS; k += 1) {
      await new Promise((goOn) => { setTimeout(goOn, PAUSE); });
      if (this.running !== run) return;
      this.step();
      if (this.stepper.isBroken) break;
      if (k % SELDOM === 0) {
        await this.readOthers();
        if (this.running !== run) return;
        if (isCalm) this.showWeights();
        else this.show();
      } else if (!isCalm) this.showWeights();
    }
    this.pause(this.stepper.isBroken ? "" : `It rests after ${times(MOST_STEPS, "step")}`);
  }

  async pause(words) {
    if (!this.running) return;
    this.stop();
    this.show();
    await this.readOthers();
    this.tell(this.stepper.isBroken || !this.score ? this.where.textContent
      : `${words.replace(/\.$/, "")}. After step ${this.stepper.steps} it reads ` +
        `${share(this.score.accuracy)} of ${this.score.count} other digits.`);
  }

  /** Nothing runs any more, and what was being read is no longer waited for. */
  stop() {
    this.running = null;
    this.asked = null;
  }

  /** The page lets go of the panel. */
  close() {
    this.isClosed = true;
    this.stop();
    document.removeEventListener("visibilitychange", this.visibility);
    this.stopWatching();
  }

  step() {
    this.stepper.step();
    this.score = null;
    const { steps, loss, lossAfter } = this.stepper;
    if (steps === 1) this.draw("batch", 0, loss);
    this.draw("batch", steps, lossAfter);
  }

  /** A point of the curve; when its sheet is full, a sheet twice as wide. */
  draw(line, step, loss) {
    this.history.push([line, step, loss]);
    if (step <= this.range) {
      this.losses.add(line, step, loss);
      return;
    }
    this.range *= 2;
    this.losses.begin(this.range);
    for (const point of this.history) this.losses.add(...point);
  }

  lookAt(number) {
    this.digit = number;
    this.show();
    const { label } = this.stepper.digit(number);
    this.tell(`The numbers of digit ${number + 1} are shown, a ${label}.`);
  }

  askFor(unit, place, isKey) {
    this.chosen = { unit, place };
    this.show();
    if (isKey) this.tell(this.sentence.textContent);
  }

  /** Read the other digits, a few milliseconds at a time, and show how many are read. */
  async readOthers() {
    const asked = (this.asked = {});
    const reading = this.stepper.readOthers();
    let until = performance.now() + SLICE;
    for (const score of reading) {
      if (score) this.score = score;
      if (performance.now() < until) continue;
      await new Promise((goOn) => { setTimeout(goOn, 0); });
      if (this.asked !== asked) return;
      until = performance.now() + SLICE;
    }
    this.draw("others", this.stepper.steps, this.score.loss);
    this.losses.paint();
    this.refresh();
  }

  // --- What is shown ------------------------------------------------------------------------------

  /** For who cannot see the numbers. */
  tell(words) {
    this.status.textContent = words;
  }

  refresh() {
    const { stepper, score } = this;
    const { steps, isTaken, isBroken, loss, lossAfter, labels } = stepper;
    for (const button of [this.oneButton, this.tenButton, this.runButton]) button.disabled = isBroken;
    this.anewButton.disabled = false;
    this.runButton.textContent = this.running ? "Pause" : "Run";
    this.stepWords.textContent = isTaken || steps > 0 ? `Step ${steps}` : "";
    const digits = labels.length === 1 ? "This digit" : `These ${labels.length} digits`;
    const own = isBroken
      ? "The loss is no longer a number, so nothing more can be learnt. Start anew with a smaller rate."
      : isTaken ? `${digits}: loss ${write(loss)} before the step, ${write(lossAfter)} after it.`
        : `${digits}: loss ${write(loss)}, and no step yet. The numbers are those that the first ` +
          "step will use.";
    const others = score && !isBroken
      ? ` Of ${score.count} others it reads ${share(score.accuracy)}, at a loss of ${write(score.loss)}.`
      : "";
    this.where.textContent = own + others;
    this.losses.describe(`Loss over ${times(steps, "step")}. ${own}${others}`);
  }

  /** What a step changes, in numbers and pictures. */
  show() {
    const { stepper } = this;
    this.digit = Math.min(this.digit, stepper.labels.length - 1);
    const digits = Array.from(stepper.labels, (_, k) => stepper.digit(k));
    this.digitsView.show(digits, this.digit);
    this.showOutputs(digits[this.digit]);
    this.showWeights();
    if (this.hidden) this.showHidden();
    if (this.maps) this.showMaps();
  }

  showOutputs({ label, answer, logits, probabilities, gradient, after }) {
    this.outputs.caption.textContent = `Digit ${this.digit + 1}, a ${label}: the numbers before the ` +
      "step, and its logits after it";
    this.outputs.show(Array.from(logits, (logit, k) => [
      String(k), write(logit), write(probabilities[k]), k === label ? "1" : "0", write(gradient[k]),
      after ? write(after[k]) : "–",
    ]), { [answer]: "read", [label]: answer === label ? "read right" : "right" });
  }

  /** The first layer: its weights as they are now, and what the step adds. */
  showWeights() {
    const { stepper, words } = this;
    const { shape: [units], before, gradient, after } = stepper.parameters[0];
    const rate = stepper.isTaken ? stepper.rate : this.settings.rate;
    for (const view of [this.weights, this.change]) view.chosen = this.chosen;
    this.weights.show(words.weights, { values: after ?? before, count: units });
    this.change.show(words.change, { values: gradient.map((slope) => -rate * slope), count: units });
    this.sentence.textContent = this.sayWeight(rate);
    this.losses.paint();
    this.refresh();
  }

  /** The arithmetic of one weight, in a sentence. */
  sayWeight(rate) {
    const { unit, place } = this.chosen;
    const { shape, before, gradient, after } = this.stepper.parameters[0];
    const area = before.length / shape[0];
    const side = Math.sqrt(area);
    const [old, slope] = [before, gradient].map((numbers) => numbers[unit * area + place]);
    const now = after ? after[unit * area + place] : old - rate * slope;
    const own = this.stepper.ownGradient(unit, place, this.digit);
    const number = this.stepper.labels.length;
    const mean = number === 1 ? "" : ` Its gradient is the mean over ${number} digits; of digit ` +
      `${this.digit + 1} alone it is ${write(own, 4)}.`;
    return `Weight of ${this.words.unit(unit)} at row ${Math.floor(place / side)}, column ` +
      `${place % side}: ${write(old, 4)} − ${rate} · ${slope < 0 ? `(${write(slope, 4)})` : write(slope, 4)} = ` +
      `${write(now, 4)}.${mean}${this.sayParts(unit, place)}`;
  }

  /** What a weight's gradient is made of. */
  sayParts(unit, place) {
    const { stepper, kind } = this;
    const { gradient: slopes } = stepper.ofLayer(1, this.digit);
    const that = stepper.labels.length === 1 ? "The gradient" : "That";
    if (kind === "cnn") {
      return ` ${that} is a sum over 196 places: what comes back to each, times the pixel that lay under ` +
        "this weight.";
    }
    const pixel = stepper.ofLayer(0, this.digit).values[place];
    const letter = kind === "linear" ? "p − y" : "dz";
    return ` ${that} is ${letter} = ${write(slopes[unit], 4)} times the pixel, ${write(pixel, 4)}.`;
  }

  showHidden() {
    const { stepper, digit } = this;
    const { unit } = this.chosen;
    const [sums, hidden] = [1, 2].map((number) => stepper.ofLayer(number, digit));
    this.hidden.caption.textContent = `The hidden units for digit ${digit + 1}: forwards, and what ` +
      "comes back";
    this.hidden.show(Array.from(sums.values, (sum, k) => [
      String(k), write(sum), write(hidden.values[k]), write(hidden.gradient[k]), write(sums.gradient[k]),
    ]), { [unit]: "read" });
    const { before, gradient, after } = stepper.parameter("output.weight");
    const units = sums.values.length;
    this.outgoing.caption.textContent = `What hidden unit ${unit} says to the classes`;
    this.outgoing.show(Array.from({ length: 10 }, (_, k) => k * units + unit).map((at, k) => [
      String(k), write(before[at], 4), write(gradient[at], 4), after ? write(after[at], 4) : "–"]));
  }

  showMaps() {
    const { stepper, digit } = this;
    const { unit } = this.chosen;
    const { before, gradient, after } = stepper.parameters[0];
    const parts = [before, gradient, after];
    this.numbers.forEach(({ words, view }, which) => {
      view.caption.textContent = `Kernel ${unit}: ${words}`;
      view.show(Array.from({ length: 5 }, (_, row) => [String(row),
        ...Array.from({ length: 5 }, (__, column) => (parts[which]
          ? write(parts[which][unit * 25 + row * 5 + column]) : "–"))]));
    });
    const layers = { values: stepper.ofLayer(1, digit).values, pooled: stepper.ofLayer(3, digit).values,
      gradient: stepper.ofLayer(1, digit).gradient };
    const said = {
      values: `Digit ${digit + 1}: the four maps of sums, 14×14 each.`,
      pooled: "The same after ReLU and pooling, 7×7 each.",
      gradient: "What comes back to the sums, dz: zero where ReLU or pooling let nothing through.",
    };
    for (const { what, view } of this.maps) view.show(said[what], { values: layers[what], count: 4 });
  }
}
