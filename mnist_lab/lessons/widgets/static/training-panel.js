// The panel on which a network is trained: its settings, what it shows, and what becomes of it.

import { Panel } from "./panel.js";
import { findBest, openNetwork } from "./forward.js";
import { OwnDigits, addDigits, countRepeats, partDigits } from "./own-digits.js";
import { Training } from "./training.js";
import { CurveView, MisreadView, WeightsView } from "./training-views.js";
import { LayersView, make, whenColoursChange } from "./views.js";
import { WAYS } from "./ways-to-break.js";
import padCss from "./digit-pad.css";
import css from "./train-here.css";

const NETWORKS = {
  linear: { words: "1 layer: linear", model: "linear", width: 0, rate: 0.002 },
  mlp: { words: "2 layers: MLP", model: "mlp", width: 32, rate: 0.002 },
  cnn: { words: "4 layers: CNN", model: "quick_cnn", width: 8, rate: 0.01 },
};
const RATES = [0.0001, 0.0005, 0.002, 0.01, 0.05, 0.2, 1, 10];
const BATCHES = [8, 32, 128, 500];
const EPOCHS = [3, 8, 20, 40];
const OPTIMISERS = { adam: "Adam", sgd: "SGD with momentum" };
const DEFAULTS = {
  network: "cnn", rate: 0.01, batch: 32, epochs: 8, optimiser: "adam", moved: false, seed: 0, way: "",
};
const AT_ONCE = ["rate", "batch", "moved"]; // what may change while it learns
const STEPS_TO_TELL = [0.5, 0.8, 0.9, 0.95, 0.97]; // accuracies that are worth a word
const MOST_ASKED = 100; // own digits that are read after each score; so few that nothing halts
const SLICE = 12; // milliseconds of a frame that a comparison may take
const share = (value) => `${(100 * value).toFixed(1)} %`;

const epochs = (number) => `${Number(number.toFixed(2))} epoch${number === 1 ? "" : "s"}`;

let count = 0; // for identifiers, which must differ between the panels of a page

/** The settings that were kept, so far as they are possible ones. */
export function readSettings(kept) {
  const found = { ...DEFAULTS };
  const among = {
    network: Object.keys(NETWORKS), rate: RATES, batch: BATCHES, epochs: EPOCHS,
    optimiser: Object.keys(OPTIMISERS), moved: [true, false], way: WAYS.map(({ key }) => key),
  };
  for (const [name, possible] of Object.entries(among)) {
    if (possible.includes(kept?.[name])) found[name] = kept[name];
  }
  if (Number.isSafeInteger(kept?.seed) && kept.seed >= 0 && kept.seed < 1e6) found.seed = kept.seed;
  return found;
}

export class TrainingPanel {
  /**
   * Build the panel inside `root`, a shadow root. `digits` is a promise of { train, validation };
   * `chapters` where the book's chapters are, or null; `memory` { read(), write(settings) };
   * openBook() gives the book's own network; it is null where there is none.
   */
  constructor(root, { digits, memory, chapters = null, openBook = null }) {
    Object.assign(this, { digits, chapters, memory, openBook });
    this.settings = readSettings(memory.read());
    this.training = null;
    this.scores = [];
    this.bytes = null; // of the network as it was scored last
    this.best = 0;
    this.id = `train-here-${(count += 1)}`;
    this.own = new OwnDigits(() => this.ownChanged());
    this.buildControls();
    this.own.listen();
    this.buildViews();
    root.append(make("style", { textContent: padCss + css }),
      make("div", { className: "training", role: "group", "aria-label": "Train a network" },
        this.controls, this.own.element, this.explanation, this.progress, this.ownScore, this.status,
        this.views, this.afterwards));
    this.visibility = () => this.pageWasHidden(document.hidden);
    document.addEventListener("visibilitychange", this.visibility);
    this.watchColours();
    this.refresh();
  }

  // --- What it is built of ------------------------------------------------------------------------

  buildControls() {
    this.startButton = this.button("Start", () => this.startOrPause());
    this.startButton.className = "first";
    this.againButton = this.button("Start over", () => this.begin());
    const select = (name, entries) => {
      const control = make("select", {},
        ...entries.map(([value, words]) => make("option", { value: String(value) }, words)));
      control.value = String(this.settings[name]);
      control.addEventListener("change", () => {
        const [value] = entries.find(([one]) => String(one) === control.value);
        this.choose(name, value);
      });
      return control;
    };
    this.rate = select("rate", RATES.map((rate) => [rate, String(rate)]));
    this.moved = make("input", { type: "checkbox", checked: this.settings.moved });
    this.moved.addEventListener("change", () => this.choose("moved", this.moved.checked));
    this.withOwn = make("input", { type: "checkbox" });
    this.withOwn.addEventListener("change", () => this.refresh());
    this.withOwnWords = make("span", {});
    this.seed = make("input", {
      type: "number", min: 0, max: 999_999, step: 1, value: this.settings.seed,
    });
    this.seed.addEventListener("change", () => {
      this.choose("seed", readSettings({ seed: Number(this.seed.value) }).seed);
      this.seed.value = this.settings.seed;
    });
    const way = select("way", WAYS.map(({ key, name }) => [key, name]));
    way.setAttribute("aria-describedby", `${this.id}-explanation`);
    // Named once more, since what a label holds is also what can be chosen in it.
    const label = (words, control) => {
      control.setAttribute("aria-label", words);
      return make("label", {}, words, control);
    };
    this.controls = make("div", { className: "controls" },
      make("div", { className: "row" }, this.startButton, this.againButton),
      make("div", { className: "settings" },
        label("Network", select("network",
          Object.entries(NETWORKS).map(([key, { words }]) => [key, words]))),
        label("Break it", way),
        label("Learning rate", this.rate),
        label("Optimiser", select("optimiser", Object.entries(OPTIMISERS))),
        label("Batch size", select("batch", BATCHES.map((size) => [size, String(size)]))),
        label("Epochs", select("epochs", EPOCHS.map((number) => [number, String(number)]))),
        label("Seed", this.seed),
        make("label", { className: "tick" }, this.moved, "Move the digits (augmentation)"),
        make("label", { className: "tick" }, this.withOwn, this.withOwnWords)));
    this.ownChanged();
    this.explanation = make("p", { className: "explanation", id: `${this.id}-explanation` });
    this.explanation.setAttribute("role", "status");
  }

  buildViews() {
    this.status = make("p", { className: "unseen", role: "status" });
    this.accuracy = make("span", { className: "accuracy" });
    this.where = make("span", { className: "where" });
    this.progress = make("p", { className: "progress" }, this.accuracy, this.where);
    this.ownScore = make("p", { className: "said" });
    this.losses = new CurveView({
      title: "Loss: grey of each batch, blue of 1,000 other digits", top: 3, ticks: [0, 1, 2, 3],
      write: String, lines: ["batch", "others"],
    });
    this.shares = new CurveView({
      title: "Share of 1,000 other digits that it reads", top: 1, ticks: [0, 0.5, 0.9, 1],
      write: (value) => `${Math.round(100 * value)} %`, lines: ["others"],
    });
    for (const view of [this.losses, this.shares]) view.begin(this.settings.epochs);
    this.weights = new WeightsView();
    this.misread = new MisreadView();
    this.views = make("div", { className: "views" }, this.shares.element, this.losses.element,
      this.weights.element, this.misread.element);
    this.saveButton = this.button("Save your network", () => this.save());
    this.compared = make("p", { className: "said", role: "status" });
    this.drawing = make("details", {}, make("summary", {}, "Draw on your network"));
    this.drawing.addEventListener("toggle", () => this.drawing.open && this.openPad());
    this.afterwards = make("div", { className: "afterwards", hidden: true }, this.drawing,
      make("div", { className: "row" }, this.saveButton));
    if (this.openBook) {
      this.compareButton = this.button("Compare it with the book's", () => this.compare());
      this.afterwards.lastChild.append(this.compareButton);
    }
    this.afterwards.append(this.compared);
  }

  button(words, act) {
    const button = make("button", { type: "button" }, words);
    button.addEventListener("click", act);
    return button;
  }

  // --- The reader's hand ----------------------------------------------------------------------------

  /** A setting was chosen; what can change while it learns changes at once. */
  choose(name, value) {
    this.settings[name] = value;
    if (name === "network") {
      this.settings.rate = NETWORKS[value].rate;
      this.rate.value = String(this.settings.rate);
    }
    const isUnderWay = this.training && !this.training.isOver;
    if (isUnderWay && AT_ONCE.includes(name)) this.training.change({ [name]: value });
    this.isWaiting = isUnderWay && !AT_ONCE.includes(name);
    this.memory.write(this.settings);
    this.refresh();
  }

  startOrPause() {
    if (!this.training || this.training.isOver) this.begin();
    else if (this.training.isRunning) this.pause("Paused.");
    else this.goOn();
  }

  async begin() {
    this.training?.stop();
    const asked = (this.asked = {}); // the digits may take a moment, and the reader begin again
    const { train, validation } = await this.digits;
    if (asked !== this.asked || this.isClosed) return;
    const { settings } = this;
    const { model, width } = NETWORKS[settings.network];
    const way = WAYS.find(({ key }) => key === settings.way);
    for (const view of [this.losses, this.shares]) view.begin(settings.epochs);
    Object.assign(this, { scores: [], bytes: null, best: 0, validation, isWaiting: false });
    this.compared.textContent = "";
    this.seen = 0;
    const learnt = this.withOwn.checked ? partDigits(this.own.digits).learnt : [];
    const repeats = countRepeats(learnt.length, train.labels.length);
    this.ownScore.textContent = "";
    this.ownLearnt = { digits: learnt, repeats };
    this.training = new Training({ ...settings, model, width, ...way.settings },
      { train: addDigits(train, learnt, repeats), validation }, (report) => this.show(report));
    this.tell("It starts from nothing.");
    this.refresh();
  }

  pause(words) {
    this.training.pause();
    this.tell(words);
    this.refresh();
  }

  goOn() {
    this.training.resume();
    this.tell("It learns on.");
    this.refresh();
  }

  /** Nothing learns while nobody can see it. */
  pageWasHidden(hidden) {
    if (!this.training || this.training.isOver) return;
    if (hidden && this.training.isRunning) {
      this.wasHidden = true;
      this.pause("Paused, as the page was out of sight.");
    } else if (!hidden && this.wasHidden) {
      this.wasHidden = false;
      if (!this.training.isRunning) this.goOn();
    }
  }

  /** The page lets go of the panel: nothing is left running. */
  close() {
    this.isClosed = true;
    this.training?.stop();
    this.own.close();
    document.removeEventListener("visibilitychange", this.visibility);
    this.stopWatching();
  }

  // --- What is shown --------------------------------------------------------------------------------

  show({ losses, filters, score, isBroken, isOver }) {
    for (const { seen, loss } of losses) this.losses.add("batch", seen, loss);
    this.weights.show(filters);
    if (score) this.showScore(score);
    this.losses.paint();
    if (isBroken) {
      this.tell("The loss is no longer a number, so nothing more can be learnt. Start over with a " +
        "smaller learning rate.");
    } else if (isOver) {
      this.tell(`Done: after ${epochs(this.training.settings.epochs)} it reads ` +
        `${share(score.accuracy)} of the other digits.`);
    }
    this.refresh(losses.at(-1)?.seen ?? this.seen);
  }

  showScore(score) {
    this.scores.push(score);
    this.bytes = score.bytes;
    this.losses.add("others", score.epoch, score.loss);
    this.shares.add("others", score.epoch, score.accuracy);
    this.shares.paint();
    this.misread.show(this.validation, score.answers);
    this.accuracy.textContent = share(score.accuracy);
    const words = `After ${epochs(score.epoch)}: ${share(score.accuracy)} of 1,000 other digits, ` +
      `loss ${score.loss.toPrecision(3)}.`;
    this.shares.describe(words);
    this.losses.describe(words);
    // Said aloud only when there is news: it would be tiresome to hear every step.
    const passed = STEPS_TO_TELL.filter((step) => score.accuracy >= step).at(-1) ?? 0;
    if (passed > this.best) {
      this.best = passed;
      this.tell(`It reads ${share(score.accuracy)} after ${epochs(score.epoch)}.`);
    }
    this.scoreOwn();
    if (this.drawing.open) this.useNewest();
  }

  /** Own digits have come, or gone. */
  ownChanged() {
    const count = this.own.digits.length;
    this.withOwn.disabled = count === 0;
    if (count === 0) this.withOwn.checked = false;
    this.withOwnWords.textContent = `With my own digits (${count.toLocaleString("en")})`;
  }

  /** Read the reader's digits that were set aside, with the network as it was scored last. */
  scoreOwn() {
    const { aside } = partDigits(this.own.digits);
    const asked = aside.slice(-MOST_ASKED);
    const { digits, repeats } = this.ownLearnt;
    if (asked.length === 0) return;
    const network = openNetwork(this.bytes);
    const right = asked.filter(({ image, label }) =>
      findBest(network.read(image).probabilities) === label).length;
    this.ownScore.textContent = `Of your own ${asked.length} that were set aside it reads ${right}. ` +
      (digits.length === 0 ? "It learns from no digit of yours."
        : `It learns from ${digits.length} others of yours, each ${repeats === 1 ? "once" : `${repeats} times`} an epoch.`);
  }

  /** For who cannot see the curves. */
  tell(words) {
    this.status.textContent = words;
    this.said = words;
  }

  refresh(seen = this.seen) {
    const { training, settings } = this;
    this.seen = seen;
    const isUnderWay = Boolean(training) && !training.isOver;
    this.startButton.textContent = !isUnderWay ? "Start" : training.isRunning ? "Pause" : "Go on";
    this.againButton.disabled = !isUnderWay;
    this.afterwards.hidden = this.bytes === null;
    this.where.textContent = this.whereItStands(isUnderWay);
    const way = WAYS.find(({ key }) => key === settings.way);
    const explained = way.explain(NETWORKS[settings.network].model);
    const words = explained?.said ?? "";
    if (this.explanation.dataset.words === words) return;
    this.explanation.dataset.words = words;
    this.explanation.replaceChildren(words);
    if (explained) this.explanation.append(" More in ", this.linkTo(explained.link), ".");
  }

  whereItStands(isUnderWay) {
    if (this.isWaiting && isUnderWay) return "This setting counts from the next start on.";
    if (this.scores.length === 0) {
      return isUnderWay ? "It begins …"
        : "Nothing has been learnt yet. Press Start: the network sees 2,000 digits" +
          `${this.withOwn.checked ? ", and yours," : ""} again and again.`;
    }
    if (!isUnderWay) return this.said;
    const words = `of 1,000 other digits, in epoch ${Math.min(this.training.settings.epochs,
      Math.floor(this.seen ?? 0) + 1)} of ${this.training.settings.epochs}`;
    return this.training.isRunning ? words : `${words}; paused`;
  }

  linkTo({ file, words }) {
    return this.chapters === null ? make("span", {}, words)
      : make("a", { href: `${this.chapters}${file}` }, words);
  }

  /** Paint anew what is painted in ink, when the page turns dark or light. */
  watchColours() {
    this.stopWatching = whenColoursChange(() => {
      this.weights.paint();
      this.misread.paint();
      this.own.paint();
    });
  }

  // --- What becomes of it ---------------------------------------------------------------------------

  openPad() {
    if (!this.pad) {
      const host = make("div", { className: "pad" });
      this.drawing.append(host);
      this.layers = null;
      this.pad = new Panel(host.attachShadow({ mode: "open" }), (strokes, image) => this.read(image));
    }
    this.useNewest();
  }

  /** Let the network read as it was when it was scored last. */
  useNewest() {
    if (!this.bytes) return;
    this.network = openNetwork(this.bytes);
    this.layers?.element.remove();
    this.pad.pictures = this.pad.pictures.filter((picture) => picture !== this.layers);
    this.network.read(this.pad.image ?? new Uint8Array(784));
    this.layers = new LayersView(this.network);
    this.pad.below.replaceChildren(this.layers.element);
    this.pad.pictures.push(this.layers);
    this.layers.paint(); // now that it stands where colours are known
    this.pad.changed(true);
  }

  read(image) {
    if (!this.network) return;
    const result = image ? this.network.read(image) : null;
    this.pad.show(this.network.classNames, result?.probabilities ?? null);
    if (result) this.layers.paint();
    this.compareDrawing(image, result);
  }

  compareDrawing(image, result) {
    if (!image || !this.book) return;
    const [own, other] = [result, this.book.read(image)].map(
      ({ probabilities }) => findBest(probabilities));
    this.compared.textContent = own === other ? `Both read ${own} in your drawing.`
      : `Yours reads ${own} in your drawing, the book's ${other}.`;
  }

  save() {
    const address = URL.createObjectURL(new Blob([this.bytes], { type: "application/octet-stream" }));
    make("a", { href: address, download: "my-network.safetensors" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
    this.compared.textContent = "Saved as my-network.safetensors. A pad of these pages takes it, under " +
      "“Let your own model read”.";
  }

  /** Let both read the same 1,000 digits, a few at a time so that the page stays responsive. */
  async compare() {
    const { images, labels } = this.validation;
    this.book ??= this.openBook(); // from now on it reads what is drawn, too
    this.compared.textContent = "Both are reading …";
    const networks = [openNetwork(this.bytes), this.openBook()];
    const right = [0, 0];
    for (let k = 0, until = 0; k < labels.length; k += 1) {
      const image = images.subarray(784 * k, 784 * (k + 1));
      networks.forEach((network, which) => {
        if (findBest(network.read(image).probabilities) === labels[k]) right[which] += 1;
      });
      if (performance.now() < until) continue;
      await new Promise((goOn) => { setTimeout(goOn, 0); });
      until = performance.now() + SLICE;
    }
    const [own, other] = right.map((number) => share(number / labels.length));
    this.compared.textContent = `Of the same 1,000 digits yours reads ${own}, the book's ${other}. ` +
      "The book's has learnt from 55,000 digits, yours from 2,000.";
  }
}
