// What a reader sees of a training: two curves, the first layer's weights, the digits still misread.

import { make, thumbnail, paintImage } from "./views.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [320, 170];
const FRAME = { left: 42, right: 8, top: 10, bottom: 24 };
const MOST_POINTS = 160; // of a line; batches that fall together are averaged
const MOST_MISREAD = 15;

function draw(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A curve over the epochs. `lines` are names of lines, `top` the largest value that is shown. */
export class CurveView {
  constructor({ title, top, ticks, write, lines }) {
    Object.assign(this, { title, top, ticks, write });
    this.grid = draw("g", { class: "grid" });
    this.paths = Object.fromEntries(
      lines.map((name) => [name, draw("path", { class: `line ${name}` })]));
    this.picture = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "curve" },
      this.grid, ...Object.values(this.paths));
    this.element = make("figure", {}, make("figcaption", {}, title), this.picture);
    this.begin(10);
  }

  /** An empty sheet for so many epochs. */
  begin(epochs) {
    this.epochs = epochs;
    this.points = Object.fromEntries(Object.keys(this.paths).map((name) => [name, []]));
    const bottom = HEIGHT - FRAME.bottom;
    const across = this.ticks.map((value) => {
      const y = this.placeOf(0, value)[1];
      return draw("g", {},
        draw("line", { x1: FRAME.left, x2: WIDTH - FRAME.right, y1: y, y2: y }),
        draw("text", { x: FRAME.left - 6, y: y + 4, "text-anchor": "end" }, this.write(value)));
    });
    const every = Math.ceil(epochs / 10);
    const along = [];
    for (let epoch = 0; epoch <= epochs; epoch += every) {
      const [x] = this.placeOf(epoch, 0);
      along.push(draw("text", { x, y: bottom + 16, "text-anchor": "middle" }, String(epoch)));
    }
    this.grid.replaceChildren(...across, ...along);
    for (const path of Object.values(this.paths)) path.setAttribute("d", "");
    this.describe(`${this.title}: nothing yet.`);
  }

  placeOf(epoch, value) {
    const share = Math.min(1, Math.max(0, value / this.top)); // what is larger runs along the edge
    return [
      FRAME.left + (epoch / this.epochs) * (WIDTH - FRAME.left - FRAME.right),
      FRAME.top + (1 - share) * (HEIGHT - FRAME.top - FRAME.bottom),
    ];
  }

  /** Go on with a line; points that fall into the same stretch of it become their mean. */
  add(name, epoch, value) {
    const points = this.points[name];
    const stretch = Math.floor((epoch / this.epochs) * MOST_POINTS);
    const last = points.at(-1);
    if (last?.stretch === stretch) {
      last.count += 1;
      last.epoch += (epoch - last.epoch) / last.count;
      last.value += (value - last.value) / last.count;
    } else points.push({ stretch, epoch, value, count: 1 });
  }

  paint() {
    for (const [name, path] of Object.entries(this.paths)) {
      const places = this.points[name].filter(({ value }) => Number.isFinite(value)).map(
        ({ epoch, value }) => this.placeOf(epoch, value).map((place) => place.toFixed(1)).join(" "));
      path.setAttribute("d", places.length > 0 ? `M${places.join("L")}` : "");
    }
  }

  describe(words) {
    this.picture.setAttribute("aria-label", words);
  }
}

/** The weights that look at the image, a small picture for each unit: blue for more, red for less. */
export class WeightsView {
  constructor() {
    this.canvas = make("canvas", { className: "weights", role: "img" });
    this.canvas.setAttribute("aria-label", "The weights of the first layer: none has been drawn yet.");
    this.words = make("figcaption", {});
    this.element = make("figure", {}, this.words, this.canvas);
  }

  /** shape is [units, pixels] or [kernels, 1, side, side]. */
  show({ shape, values }) {
    this.given = { shape, values };
    const [count] = shape;
    const side = Math.sqrt(values.length / count);
    this.words.textContent = shape.length > 2
      ? `The ${count} kernels of the first layer, ${side}×${side} weights each`
      : `The weights of the first layer: ${count} pictures of ${side}×${side}`;
    this.canvas.setAttribute("aria-label",
      `${this.words.textContent}. Blue where ink counts for a unit, red where it counts against it.`);
    this.paint();
  }

  paint() {
    if (!this.given) return;
    const { shape: [count], values } = this.given;
    const side = Math.sqrt(values.length / count);
    const columns = side < 10 ? 4 : count % 5 === 0 ? 5 : 8;
    paintUnits(this.canvas, values, { count, side, columns });
  }
}

/** Paint square pictures with a gap of one pixel: blue above zero, red below, as CSS's color and
 * outline-color say. `full` is the value of a full colour; without it each picture has its own. */
export function paintUnits(canvas, values, { count, side, columns, full = null }) {
  canvas.width = columns * (side + 1) - 1;
  canvas.height = Math.ceil(count / columns) * (side + 1) - 1;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(canvas.width, canvas.height);
  const style = getComputedStyle(canvas);
  const colour = (name) => (style[name].match(/[\d.]+/g) ?? [0, 0, 0]).slice(0, 3).map(Number);
  const pens = [colour("outlineColor"), colour("color")]; // for less, for more
  const area = side * side;
  for (let unit = 0; unit < count; unit += 1) {
    const own = values.subarray(unit * area, (unit + 1) * area);
    const most = full ?? own.reduce((largest, value) => Math.max(largest, Math.abs(value)), 1e-9);
    const [top, left] = [Math.floor(unit / columns), unit % columns].map((k) => k * (side + 1));
    for (let place = 0; place < area; place += 1) {
      const [y, x] = [top + Math.floor(place / side), left + (place % side)];
      const at = 4 * (y * canvas.width + x);
      picture.data.set(pens[own[place] > 0 ? 1 : 0], at);
      picture.data[at + 3] = 255 * (0.04 + 0.96 * Math.min(1, Math.abs(own[place]) / most));
    }
  }
  context.putImageData(picture, 0, 0);
}

/** Some of the digits that are still misread, with what they are and what was read. */
export class MisreadView {
  constructor() {
    this.words = make("figcaption", {});
    this.list = make("ul", { className: "examples", "aria-label": "Digits that it misreads" });
    this.element = make("figure", {}, this.words, this.list);
    this.show({ images: new Uint8Array(0), labels: [] }, []);
  }

  show({ images, labels }, answers) {
    const wrong = [...answers.keys()].filter((k) => answers[k] !== labels[k]);
    this.words.textContent = answers.length === 0 ? "The digits that it misreads"
      : `${wrong.length.toLocaleString("en")} of the ${labels.length.toLocaleString("en")} other ` +
        "digits are misread" + (wrong.length > MOST_MISREAD ? ", these among them" : "");
    // From all classes: the misread digits are in the order of their classes.
    const every = Math.max(1, wrong.length / MOST_MISREAD);
    const some = Array.from({ length: Math.min(MOST_MISREAD, wrong.length) },
      (_, k) => wrong[Math.floor(k * every)]);
    this.list.replaceChildren(...some.map((k) => thumbnail(
      images.subarray(784 * k, 784 * (k + 1)), `${labels[k]}, read ${answers[k]}`, true)));
    this.paint();
  }

  paint() {
    for (const canvas of this.list.querySelectorAll("canvas")) paintImage(canvas, canvas.image);
  }
}
