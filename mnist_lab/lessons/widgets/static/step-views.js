// What a reader sees of one step: numbers in tables, and weights, maps and gradients as pictures.

import { make, paintImage } from "./views.js";
import { paintUnits } from "./training-views.js";

const MOST_DIGITS = 10; // of a step, that are shown

/** A number with a sign of its own width, to so many places; what is too large, with an exponent. */
export function write(value, places = 3) {
  if (!Number.isFinite(value)) return "–";
  const rounded = Math.abs(value) < 1e4 ? value.toFixed(places) : value.toExponential(1);
  return (Number(rounded) === 0 ? rounded.replace("-", "") : rounded).replaceAll("-", "−");
}

/** A table whose rows change: the first entry of each is its name. */
export class TableView {
  constructor(caption, header) {
    this.caption = make("caption", {}, caption);
    this.body = make("tbody");
    const heads = header.map((words) => make("th", { scope: "col" }, words));
    this.element = make("div", { className: "numbers-table" },
      make("table", {}, this.caption, make("thead", {}, make("tr", {}, ...heads)), this.body));
  }

  /** Rows are arrays of texts; `marks` are classes of rows by their number. */
  show(rows, marks = {}) {
    if (this.body.rows.length !== rows.length) this.build(rows);
    rows.forEach((entries, k) => {
      const row = this.body.rows[k];
      row.className = marks[k] ?? "";
      entries.forEach((words, column) => {
        const cell = row.cells[column];
        if (cell.textContent !== words) cell.textContent = words;
      });
    });
  }

  build(rows) {
    this.body.replaceChildren(...rows.map((entries) => make("tr", {},
      ...entries.map((_, k) => (k ? make("td") : make("th", { scope: "row" }))))));
  }
}

/** Square pictures of numbers in blue and red with one scale for all. If `ask` is given, a place can
 * be pointed at or reached with the arrow keys: ask(unit, place, isKey). */
export class GridView {
  constructor({ columns, ask = null }) {
    Object.assign(this, { columns, ask });
    this.canvas = make("canvas", { className: "weights", role: "img" });
    this.words = make("figcaption", {});
    this.element = make("figure", { className: "grid-view" }, this.words, this.canvas);
    this.chosen = null; // { unit, place }
    if (ask) this.listen();
  }

  show(words, { values, count }) {
    Object.assign(this, { values, count, side: Math.sqrt(values.length / count) });
    const full = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    this.full = full;
    const said = full > 0 ? `${words} Full colour: ${Number(full.toPrecision(3))}.` : `${words} All are zero.`;
    this.words.textContent = said;
    this.canvas.setAttribute("aria-label",
      this.ask ? `${said} The arrow keys move from number to number.` : said);
    this.paint();
  }

  paint() {
    if (!this.values) return;
    const { canvas, values, count, side, columns } = this;
    paintUnits(canvas, values, { count, side, columns, full: Math.max(this.full, 1e-12) });
    if (!this.chosen) return;
    const { unit, place } = this.chosen;
    const context = canvas.getContext("2d");
    context.fillStyle = getComputedStyle(canvas).getPropertyValue("--pad-ink") || "black";
    context.fillRect((unit % columns) * (side + 1) + (place % side),
      Math.floor(unit / columns) * (side + 1) + Math.floor(place / side), 1, 1);
  }

  listen() {
    this.canvas.tabIndex = 0;
    this.canvas.addEventListener("pointerdown", (event) => {
      const box = this.canvas.getBoundingClientRect();
      const x = Math.floor(((event.clientX - box.left) / box.width) * this.canvas.width);
      const y = Math.floor(((event.clientY - box.top) / box.height) * this.canvas.height);
      this.move(x, y, false);
    });
    this.canvas.addEventListener("keydown", (event) => {
      const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      if (!Object.hasOwn(ways, event.key) || !this.chosen) return;
      event.preventDefault();
      event.stopPropagation();
      const { side, columns } = this;
      const { unit, place } = this.chosen;
      const [right, down] = ways[event.key];
      // Over the gap between two pictures in one move.
      const along = (at, way) => {
        const next = (at % (side + 1)) + way;
        return at + way * (next < 0 || next === side ? 2 : 1);
      };
      this.move(along((unit % columns) * (side + 1) + (place % side), right),
        along(Math.floor(unit / columns) * (side + 1) + Math.floor(place / side), down), true);
    });
  }

  /** Ask for the number at a pixel of the canvas, if there is one. */
  move(x, y, isKey) {
    const { side, columns } = this;
    const unit = Math.floor(y / (side + 1)) * columns + Math.floor(x / (side + 1));
    const [column, row] = [x % (side + 1), y % (side + 1)];
    const isInside = x >= 0 && y >= 0 && x < this.canvas.width && unit < this.count;
    if (isInside && column < side && row < side) this.ask(unit, row * side + column, isKey);
  }
}

/** The digits of a step, of which one is looked at: choose(number). */
export class DigitsView {
  constructor(choose) {
    this.choose = choose;
    this.words = make("p", { className: "advice" });
    this.list = make("ul", { className: "examples", "aria-label": "Digits of this step" });
    this.element = make("div", { className: "step-digits" }, this.words, this.list);
    this.buttons = [];
  }

  /** digits are { image, label, answer }. */
  show(digits, chosen) {
    const shown = digits.slice(0, MOST_DIGITS);
    const rest = digits.length - shown.length;
    this.words.textContent = digits.length === 1 ? "The digit of this step."
      : `The ${digits.length} digits of this step${rest > 0 ? `, ${shown.length} of them shown` : ""}: ` +
        "choose the one whose numbers you want to see.";
    if (this.buttons.length !== shown.length) this.build(shown.length);
    shown.forEach(({ image, label, answer }, k) => {
      const { button, canvas, words } = this.buttons[k];
      button.setAttribute("aria-pressed", String(k === chosen));
      button.setAttribute("aria-label", `Digit ${k + 1}: a ${label}, read as ${answer} before the step`);
      button.classList.toggle("wrong", answer !== label);
      words.textContent = `${label}, read ${answer}`;
      canvas.image = image;
    });
    this.paint();
  }

  build(count) {
    this.buttons = Array.from({ length: count }, (_, k) => {
      const canvas = make("canvas", { className: "image", "aria-hidden": "true" });
      const words = make("span");
      const button = make("button", { type: "button" }, canvas, words);
      button.addEventListener("click", () => this.choose(k));
      return { button, canvas, words };
    });
    this.list.replaceChildren(...this.buttons.map(({ button }) => make("li", {}, button)));
  }

  paint() {
    for (const { canvas } of this.buttons) if (canvas.image) paintImage(canvas, canvas.image);
  }
}
