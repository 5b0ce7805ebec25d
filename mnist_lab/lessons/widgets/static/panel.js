// The pad with its tools and what was read, for any host: a page or a notebook.

import { findBest } from "./forward.js";
import { MOST_POINTS, Pad } from "./pad.js";
import { drawStrokes, measure } from "./preprocess.js";
import { BarsView, ImageView, PixelsView, make, percent, whenColoursChange } from "./views.js";
import css from "./digit-pad.css";

const SMALLEST = 0.03; // of the sheet: what is smaller is a slip, not a digit
const HOW =
  "Draw with mouse, pen or finger. With the keyboard: arrow keys move the pen, Space puts it " +
  "down and lifts it, U undoes, C clears, E is the eraser.";
const FULL = `The sheet is full: it keeps the first ${MOST_POINTS.toLocaleString("en")} points.`;
const UNREADABLE = "Nothing can be read: the answer is not one finite probability for each class.";

let count = 0; // for identifiers, which must differ between the pads of a page

const ICONS = {
  undo: "M9 6 4 11l5 5M4.5 11H14a5.5 5.5 0 0 1 0 11h-3",
  clear: "M5 7h14M10 11v6M14 11v6M6.5 7l1 13h9l1-13M9.5 7V4h5v3",
  eraser: "M8.5 20 3.8 15.3a1.6 1.6 0 0 1 0-2.3L12.6 4.2a1.6 1.6 0 0 1 2.3 0l5 5a1.6 1.6 0 0 1 0 2.3L11.400 20zM8.300 8.500l7.300 7.300M8.500 20H20",
};

function icon(name) {
  const namespace = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(namespace, "svg");
  const path = document.createElementNS(namespace, "path");
  picture.setAttribute("viewBox", "0 0 24 24");
  picture.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  picture.append(path);
  return picture;
}

/** What the live region says of probabilities. */
export function describe(names, probabilities) {
  const order = [...names.keys()].sort((one, other) => probabilities[other] - probabilities[one]);
  const [first, second] = order;
  if (probabilities[first] >= 0.7) return `I read ${names[first]} (${percent(probabilities[first])}).`;
  return `Perhaps ${names[first]} (${percent(probabilities[first])}), ` +
    `perhaps ${names[second]} (${percent(probabilities[second])}).`;
}

export class Panel {
  /**
   * Build the panel inside `root`, a shadow root. `read(strokes, image, finished)` is called when
   * the drawing has changed, with a null image when there is nothing to read; whoever reads calls
   * `show(names, probabilities)`. With `reads` false nobody reads: there are pixels to look at.
   */
  constructor(root, read, { reads = true } = {}) {
    this.read = read;
    this.reads = reads;
    this.image = null;
    this.pictures = []; // what has to be painted again when the page turns dark
    const id = `digit-pad-${(count += 1)}`;
    this.canvas = make("canvas", {
      className: "sheet", tabIndex: 0, role: "application", "aria-label": "Sheet to draw a digit on",
      "aria-describedby": `${id}-how`,
    });
    this.hint = make("p", { className: "hint", "aria-hidden": "true" }, "Draw a digit here");
    this.status = make("p", { className: "status", role: "status" });
    this.tool = make("p", { className: "unseen", role: "status" });
    this.warning = make("p", { className: "said", role: "status" });
    this.answer = make("p", { className: "answer", "aria-hidden": "true" });
    this.picture = reads ? new ImageView() : new PixelsView();
    this.bars = new BarsView();
    this.buttons = {
      undo: this.button("undo", "Undo", () => this.pad.undo()),
      clear: this.button("clear", "Clear", () => this.pad.clear()),
      eraser: this.button("eraser", "Eraser", () =>
        this.pad.useTool(this.pad.tool === "eraser" ? "pen" : "eraser")),
    };
    this.buttons.eraser.setAttribute("aria-pressed", "false");
    this.below = make("div", { className: "below" });
    const right = reads
      ? [make("div", { className: "reading" }, this.answer, this.picture.element),
        this.status, this.bars.element]
      : [this.picture.element];
    this.element = make("div",
      { className: reads ? "panel" : "panel pair", role: "group", "aria-label": "Drawing pad" },
      make("div", { className: "left" },
        make("div", { className: "paper" }, this.canvas, this.hint),
        make("div", { className: "tools" }, ...Object.values(this.buttons)), this.warning,
        make("p", { className: "how unseen", id: `${id}-how` }, HOW)),
      make("div", { className: "right" }, ...right),
      this.below, this.tool);
    root.append(make("style", { textContent: css }), this.element);
    this.pad = new Pad(this.canvas, {
      onChange: (finished) => this.changed(finished),
      say: (words) => { this.tool.textContent = words; },
      onTool: (tool) => this.buttons.eraser.setAttribute("aria-pressed", String(tool === "eraser")),
    });
    this.pictures.push(this.picture, this.pad);
    this.watchColours();
    this.finished = true;
    this.sentence = ""; // what there is to say
    this.refresh();
  }

  button(name, words, act) {
    const button = make("button", { type: "button" }, icon(name), words);
    button.addEventListener("click", act);
    return button;
  }

  refresh() {
    const { isEmpty, isFull, canUndo } = this.pad;
    this.hint.hidden = !isEmpty;
    this.buttons.undo.disabled = !canUndo;
    this.buttons.clear.disabled = isEmpty;
    this.warn(isFull ? FULL : "");
  }

  /** Say, until the drawing changes, what is wrong with it. */
  warn(sentence) {
    if (this.warning.textContent !== sentence) this.warning.textContent = sentence;
  }

  /** The drawing has changed: fit it, and have it read. */
  changed(finished) {
    const { strokes } = this.pad;
    this.finished = finished;
    this.refresh();
    const drawn = strokes.length > 0 && measure(strokes).extent >= SMALLEST;
    this.image = drawn ? drawStrokes(strokes) : null;
    this.picture.show(this.image);
    this.read(strokes, this.image, finished);
    // What was read while the stroke grew may be all that there will be: Python answers once.
    this.tell(this.sentence);
  }

  /** Show what was read; probabilities are null when nothing was, and `why` says why not. */
  show(names, probabilities, why = "The sheet is empty.") {
    const best = probabilities?.length === names.length ? findBest(probabilities) : -1;
    this.bars.show(names, best < 0 ? null : probabilities, best);
    this.answer.textContent = best < 0 ? "?" : names[best];
    this.answer.classList.toggle("long", this.answer.textContent.length > 2);
    if (best < 0) this.tell(probabilities ? UNREADABLE : why);
    else this.tell(describe(names, probabilities));
  }

  /** The sentence under the answer: while a stroke grows it waits, so as not to be read out. */
  tell(sentence) {
    this.sentence = sentence;
    if (this.finished && this.status.textContent !== sentence) this.status.textContent = sentence;
  }

  /** Paint anew when the page or the system changes between light, dark and high contrast. */
  watchColours() {
    whenColoursChange(() => this.pictures.forEach(
      (picture) => (picture.redraw ?? picture.paint).call(picture)));
  }
}
