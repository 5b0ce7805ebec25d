// What a reader sees of a transformer: the patches that it gets, what it paints, who looks at whom.

import { inkOf, make } from "./views.js";

const SIDE = 28;
const SIZE = 112; // pixels of a canvas' side, four for each of the image's
const FULL = 0.5; // a share that is painted as dark as can be
const WAYS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

/** Where a patch lies, in words: "row 2, column 3". */
export const placeOf = (number, across) =>
  `row ${Math.floor(number / across) + 1}, column ${(number % across) + 1}`;

const makeCanvas = (words) => {
  const canvas = make("canvas", { width: SIZE, height: SIZE });
  if (words) {
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", words);
  } else canvas.setAttribute("aria-hidden", "true");
  return canvas;
};

/** Paint 28x28 grey values as ink; patches in `left` stay bare. */
function paintInk(canvas, values, { across, left = new Set(), strength = 1 }) {
  const small = make("canvas", { width: SIDE, height: SIDE });
  const picture = new ImageData(SIDE, SIDE);
  const ink = inkOf(canvas);
  const patch = SIDE / across;
  for (let place = 0; place < SIDE * SIDE; place += 1) {
    const [row, column] = [Math.floor(place / SIDE), place % SIDE];
    if (left.has(Math.floor(row / patch) * across + Math.floor(column / patch))) continue;
    picture.data.set(ink, 4 * place);
    picture.data[4 * place + 3] = strength * Math.min(255, Math.max(0, values[place]));
  }
  small.getContext("2d").putImageData(picture, 0, 0);
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, SIZE, SIZE);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, SIZE, SIZE);
  return context;
}

const colourOf = (canvas, name) => getComputedStyle(canvas).getPropertyValue(name);

/** A corner and the side of a patch on a canvas. */
function squareOf(number, across) {
  const side = SIZE / across;
  return [(number % across) * side, Math.floor(number / across) * side, side];
}

function frame(context, number, across, colour, width) {
  const [x, y, side] = squareOf(number, across);
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.strokeRect(x + width / 2, y + width / 2, side - width, side - width);
}

/** Buttons of which the Tab key meets one, and the arrow keys all. */
class Buttons {
  constructor(buttons, across, choose) {
    Object.assign(this, { buttons, across });
    buttons.forEach((button, number) => {
      button.tabIndex = number ? -1 : 0;
      button.addEventListener("click", () => {
        this.go(number);
        choose(number);
      });
      button.addEventListener("keydown", (event) => {
        if (!Object.hasOwn(WAYS, event.key)) return;
        const [down, along] = WAYS[event.key];
        const [row, column] = [Math.floor(number / across) + down, (number % across) + along];
        event.preventDefault();
        event.stopPropagation();
        if (column < 0 || column >= across || !buttons[row * across + column]) return;
        this.go(row * across + column);
        buttons[row * across + column].focus();
      });
    });
  }

  go(number) {
    this.buttons.forEach((button, k) => { button.tabIndex = k === number ? 0 : -1; });
  }
}

/** The drawing as patches, each of which can be chosen: to be asked, or to be hidden. */
export class BoardView {
  constructor(across, choose, hide) {
    this.across = across;
    this.canvas = makeCanvas();
    this.buttons = Array.from({ length: across * across }, (_, number) => {
      const button = make("button", { type: "button", className: "patch" });
      button.addEventListener("keydown", (event) => {
        if (event.key !== "h" || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        event.stopPropagation();
        hide(number);
      });
      return button;
    });
    new Buttons(this.buttons, across, choose);
    this.grid = make("div", { className: "patches", role: "group", "aria-label": "Patches" },
      ...this.buttons);
    this.grid.style.setProperty("--across", across);
    this.element = make("figure", {},
      make("div", { className: "board" }, this.canvas, this.grid),
      make("figcaption", {}, "What it sees, patch by patch. The one with the red frame is asked."));
  }

  show({ image, hidden, asked, asksAll }) {
    this.given = { image, hidden, asked, asksAll };
    this.buttons.forEach((button, number) => {
      const isAsked = !asksAll && number === asked;
      const states = [hidden.has(number) ? "hidden" : "", isAsked ? "is asked" : ""].filter(Boolean);
      const words = [placeOf(number, this.across), ...states].join(", ");
      button.setAttribute("aria-label", words[0].toUpperCase() + words.slice(1));
      button.classList.toggle("covered", hidden.has(number));
      button.classList.toggle("asked", isAsked);
    });
    this.paint();
  }

  paint() {
    const { image, hidden } = this.given;
    paintInk(this.canvas, image, { across: this.across, left: hidden });
  }
}

/** The drawing with what the network paints where patches are hidden. */
export class PaintedView {
  constructor(across) {
    this.across = across;
    this.canvas = makeCanvas("Nothing is hidden, so nothing is painted.");
    this.words = make("figcaption", {}, "What it paints where you hide something.");
    this.element = make("figure", {}, make("div", { className: "board" }, this.canvas), this.words);
  }

  show({ image, hidden, guesses }, words) {
    this.given = { image, hidden, guesses };
    this.canvas.setAttribute("aria-label", words);
    this.paint();
  }

  paint() {
    const { image, hidden, guesses } = this.given;
    const patch = SIDE / this.across;
    const values = Float32Array.from(image, (value, place) => {
      const [row, column] = [Math.floor(place / SIDE), place % SIDE];
      const number = Math.floor(row / patch) * this.across + Math.floor(column / patch);
      return hidden.has(number) ? guesses[place] : value;
    });
    const context = paintInk(this.canvas, values, { across: this.across });
    const blue = colourOf(this.canvas, "--pad-blue");
    for (const number of hidden) frame(context, number, this.across, blue, 1.5);
  }
}

/** A small picture for each head of each block: blue where the patch that is asked looks. */
export class HeadsView {
  constructor({ depth, heads, across }, choose) {
    Object.assign(this, { depth, heads, across });
    this.maps = Array.from({ length: depth * heads }, (_, number) => {
      const canvas = makeCanvas();
      const button = make("button", { type: "button", className: "map" }, canvas);
      return { canvas, button, number };
    });
    new Buttons(this.maps.map(({ button }) => button), heads, choose);
    const names = Array.from({ length: heads + 1 }, (_, head) =>
      make("span", { className: "head", "aria-hidden": "true" }, head ? `Head ${head}` : ""));
    const rows = Array.from({ length: depth }, (_, layer) => [
      make("span", { className: "block", "aria-hidden": "true" }, `Block ${layer + 1}`),
      ...this.maps.slice(layer * heads, (layer + 1) * heads).map(({ button }) => button)]).flat();
    this.grid = make("div", { className: "heads", role: "group", "aria-label": "Heads of all blocks" },
      ...names, ...rows);
    this.grid.style.setProperty("--heads", heads);
    this.element = make("figure", {}, this.grid,
      make("figcaption", {}, "One picture for each head, a row for each block. The darker the blue, " +
        "the more of its look a patch gets; half of it or more is darkest. Choose a head to have it " +
        "put into words."));
  }

  /** shares(number) gives the shares of all patches in a head; `chosen` is the head in words. */
  show({ image, hidden, asked, asksAll, chosen }, shares) {
    this.given = { image, hidden, asked, asksAll, shares: this.maps.map(({ number }) => shares(number)) };
    for (const { button, number } of this.maps) {
      const [layer, head] = [Math.floor(number / this.heads), number % this.heads];
      button.setAttribute("aria-label", `Block ${layer + 1}, head ${head + 1}`);
      button.setAttribute("aria-pressed", String(number === chosen));
    }
    this.paint();
  }

  paint() {
    const { image, hidden, asked, asksAll, shares } = this.given;
    for (const { canvas, number } of this.maps) {
      const context = paintInk(canvas, image, { across: this.across, left: hidden, strength: 0.45 });
      context.fillStyle = colourOf(canvas, "--pad-blue");
      shares[number].forEach((share, patch) => {
        const [x, y, side] = squareOf(patch, this.across);
        context.globalAlpha = 0.8 * Math.min(1, share / FULL);
        context.fillRect(x, y, side, side);
      });
      context.globalAlpha = 1;
      if (!asksAll) frame(context, asked, this.across, colourOf(canvas, "--pad-red"), 3);
    }
  }
}
