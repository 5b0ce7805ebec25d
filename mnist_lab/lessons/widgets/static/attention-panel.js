// The panel that shows a transformer's attention for a drawing, and what it paints where one hides it.

import { BoardView, HeadsView, PaintedView, placeOf } from "./attention-views.js";
import { findBest } from "./forward.js";
import { Panel } from "./panel.js";
import { make, percent } from "./views.js";
import css from "./digit-attention.css";

const BLANK = new Uint8Array(28 * 28);
const SLOW = 12; // milliseconds; a machine that needs longer reads when a stroke has ended

/** Points of an ellipse round (x, y), from one angle to another; 0 to the right, 90 downwards. */
function arc(x, y, across, down, from, to) {
  return Array.from({ length: 25 }, (_, k) => {
    const angle = ((from + ((to - from) * k) / 24) * Math.PI) / 180;
    return [x + across * Math.cos(angle), y + down * Math.sin(angle)];
  });
}

/** Drawings to begin with: strokes of points from 0 to 1. */
const EXAMPLES = [
  [[[0.68, 0.17], [0.36, 0.18], [0.33, 0.45], ...arc(0.47, 0.63, 0.21, 0.2, -110, 140)]],
  [[...arc(0.46, 0.32, 0.19, 0.16, -150, 80), ...arc(0.46, 0.66, 0.22, 0.18, -80, 150)]],
  [[[0.38, 0.16], [0.27, 0.56], [0.5, 0.55], [0.75, 0.53]], [[0.63, 0.2], [0.59, 0.86]]],
  [arc(0.5, 0.5, 0.22, 0.34, -80, 290)],
];

const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "es"}`;

/** The patches with the largest shares, the largest first: [{ number, share }]. */
export function findLargest(shares, most = 2) {
  return Array.from(shares, (share, number) => ({ number, share }))
    .sort((one, other) => other.share - one.share).slice(0, most);
}

/** The squared errors of the pixels under a cover, in all: of what is guessed, and of bare paper. */
export function measureGuesses({ image, guesses, hidden, across }) {
  let [guessed, bare] = [0, 0];
  const patch = 28 / across;
  image.forEach((value, place) => {
    const [row, column] = [Math.floor(place / 28 / patch), Math.floor((place % 28) / patch)];
    if (!hidden.has(row * across + column)) return;
    guessed += (value - Math.min(255, Math.max(0, guesses[place]))) ** 2; // as it is shown
    bare += value ** 2;
  });
  return { guessed, bare };
}

export class AttentionPanel {
  /** Build the panel inside `root`, a shadow root; `network` is an open transformer, and `note`
   * what the page has to say of it. */
  constructor(root, network, note = "") {
    this.network = network;
    Object.assign(this, {
      hidden: new Set(), asked: Math.floor((network.patches - network.across) / 2), asksAll: false,
      chosen: 0, image: null, result: null, hides: false, example: 0,
    });
    this.panel = new Panel(root, (strokes, image, finished) => this.read(image, finished),
      { reads: network.reads !== false });
    root.append(make("style", { textContent: css }));
    this.board = new BoardView(network.across, (number) => this.touch(number),
      (number) => this.toggle(number));
    this.painted = network.paints ? new PaintedView(network.across) : null;
    this.heads = new HeadsView(network, (number) => this.choose(number));
    this.sentence = make("p", { role: "status", className: "looks" });
    this.cover = make("p", { role: "status", className: "looks cover" });
    this.panel.below.append(make("div", { className: "attention" },
      ...(note ? [make("p", { className: "advice" }, note)] : []),
      this.buildControls(),
      make("div", { className: "boards" }, this.board.element,
        ...(this.painted ? [this.painted.element] : [])),
      this.cover, this.sentence, this.heads.element));
    this.panel.pictures.push(this.board, this.heads, ...(this.painted ? [this.painted] : []));
    network.read(BLANK); // once, so that the browser has compiled it before somebody draws
    this.takeExample();
  }

  buildControls() {
    const button = (words, act) => {
      const one = make("button", { type: "button" }, words);
      one.addEventListener("click", act);
      return one;
    };
    const toggles = (words, act) => {
      const one = button(words, act);
      one.setAttribute("aria-pressed", "false");
      return one;
    };
    this.asks = toggles("Choose who looks", () => this.useMode(false));
    this.covers = toggles("Hide patches", () => this.useMode(true));
    this.everyone = toggles("All patches together", () => this.askAll(!this.asksAll));
    this.half = button("Hide half of them", () => this.hideHalf());
    this.none = button("Uncover all", () => this.uncover());
    const example = button("Another example", () => this.takeExample());
    this.useMode(false, false);
    return make("div", { className: "row", role: "group", "aria-label": "What to do with the patches" },
      this.asks, this.everyone, this.covers, this.half, this.none, example);
  }

  // --- The reader's hand ----------------------------------------------------------------------------

  useMode(hides, tells = true) {
    this.hides = hides;
    this.asks.setAttribute("aria-pressed", String(!hides && !this.asksAll));
    this.covers.setAttribute("aria-pressed", String(hides));
    if (!hides && this.asksAll && tells) this.askAll(false);
  }

  /** A click on a patch: it is hidden or shown again, or asked. */
  touch(number) {
    if (this.hides) this.toggle(number);
    else {
      this.asksAll = false;
      this.ask(number);
    }
  }

  ask(number) {
    this.asked = number;
    this.everyone.setAttribute("aria-pressed", String(this.asksAll));
    this.useMode(this.hides, false);
    this.show(true);
  }

  askAll(all) {
    this.asksAll = all;
    this.ask(this.asked);
  }

  toggle(number) {
    if (this.hidden.has(number)) this.hidden.delete(number);
    else if (this.hidden.size < this.network.patches - 1) this.hidden.add(number);
    else {
      this.cover.textContent = "One patch must stay: of nothing, nothing can be said.";
      return;
    }
    this.compute();
    this.show(true);
  }

  hideHalf() {
    const all = Array.from({ length: this.network.patches }, (_, number) => number);
    for (let k = all.length - 1; k > 0; k -= 1) { // Fisher and Yates
      const other = Math.floor(Math.random() * (k + 1));
      [all[k], all[other]] = [all[other], all[k]];
    }
    this.hidden = new Set(all.slice(0, all.length / 2));
    this.compute();
    this.show(true);
  }

  uncover() {
    this.hidden = new Set();
    this.compute();
    this.show(true);
  }

  choose(number) {
    this.chosen = number;
    this.show(true);
  }

  takeExample() {
    this.panel.pad.strokes = EXAMPLES[this.example];
    this.example = (this.example + 1) % EXAMPLES.length;
  }

  // --- What is computed, and shown ------------------------------------------------------------------

  read(image, finished) {
    this.image = image;
    if (!finished && this.milliseconds > SLOW) return;
    const before = performance.now();
    this.compute();
    this.milliseconds = performance.now() - before;
    this.show(finished);
  }

  compute() {
    this.result = this.network.read(this.image ?? BLANK, this.hidden);
    const { classNames, reads } = this.network;
    if (reads !== false) {
      this.panel.show(classNames, this.image ? this.result.probabilities : null);
    }
  }

  /** Show what was computed last; what has ended is also put into words. */
  show(finished) {
    const { hidden, asked, asksAll, chosen, result } = this;
    const given = { image: this.image ?? BLANK, hidden, asked, asksAll, chosen };
    this.board.show(given);
    this.heads.show(given, (number) => this.sharesOf(number));
    const words = this.tellCover(given);
    this.painted?.show({ ...given, guesses: result.guesses }, words);
    this.none.disabled = hidden.size === 0;
    if (!finished) return;
    this.say(this.cover, words);
    this.say(this.sentence, this.tellLooks());
  }

  /** Put words into a live region, if they are new; a number keeps its sign. */
  say(element, words) {
    const kept = words.replaceAll(" %", "\u00a0%");
    if (element.textContent !== kept) element.textContent = kept;
  }

  /** The shares that are shown of a head: those of the patch that is asked, or the mean of all. */
  sharesOf(number) {
    const { heads, patches } = this.network;
    const shares = this.result.looks[Math.floor(number / heads)][number % heads];
    if (!this.asksAll) return shares.subarray(this.asked * patches, (this.asked + 1) * patches);
    const seen = patches - this.hidden.size;
    return Float64Array.from({ length: patches }, (_, other) => {
      let sum = 0;
      for (let one = 0; one < patches; one += 1) sum += shares[one * patches + other];
      return sum / seen;
    });
  }

  tellCover({ image, hidden }) {
    const { across, patches, paints } = this.network;
    if (hidden.size === 0) {
      return paints ? "Nothing is hidden, so nothing is painted." : "Nothing is hidden.";
    }
    let words = `${count(hidden.size, "patch")} of ${patches} ${hidden.size === 1 ? "is" : "are"} hidden.`;
    if (!this.image) return words;
    if (this.network.reads !== false) {
      const best = findBest(this.result.probabilities);
      words += ` From what is left it reads ${this.network.classNames[best] ?? "nothing"} ` +
        `(${percent(this.result.probabilities[best] ?? 0)}).`;
    }
    if (!paints) return words;
    const { guessed, bare } = measureGuesses(
      { image, guesses: this.result.guesses, hidden, across });
    if (bare === 0) return `${words} There is no ink under the cover.`;
    return `${words} What it paints has ${Math.round((100 * guessed) / bare)} % of the squared error ` +
      "that bare paper would have.";
  }

  tellLooks() {
    const { heads, across } = this.network;
    const where = `Block ${Math.floor(this.chosen / heads) + 1}, head ${(this.chosen % heads) + 1}`;
    if (!this.image) return "The sheet is empty: draw a digit, or take an example.";
    const asked = placeOf(this.asked, across);
    if (!this.asksAll && this.hidden.has(this.asked)) {
      return `The patch in ${asked} is hidden, so it looks at nothing. Choose another.`;
    }
    const [first, second] = findLargest(this.sharesOf(this.chosen));
    const name = ({ number, share }) =>
      `${!this.asksAll && number === this.asked ? "itself" : placeOf(number, across)} (${percent(share)})`;
    const who = this.asksAll ? "all patches together look" : `the patch in ${asked} looks`;
    return `${where}: ${who} most at ${name(first)}` +
      (second?.share > 0 ? `, then at ${name(second)}.` : ".");
  }
}
