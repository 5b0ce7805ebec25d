// What a network makes of a drawing: the image it gets, its probabilities, the maps of its layers.

const SIDE = 28;
const WINDOW = 7; // pixels of a side, whose numbers are written out

/** Make an element: make("p", { className: "x" }, child, "text"). */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** Call `act` with where a pointer is on an element, in shares of its sides; a finger only taps. */
function whenPointed(element, act) {
  for (const name of ["pointermove", "pointerdown"]) {
    element.addEventListener(name, (event) => {
      const box = element.getBoundingClientRect();
      act((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    });
  }
}

/** A share as a whole percentage; certainty is never claimed. */
export const percent = (share, over = "over ") =>
  share > 0.995 ? `${over}99 %` : `${Math.round(share * 100)} %`;

const SCHEMES = ["(prefers-color-scheme: dark)", "(forced-colors: active)", "(prefers-contrast: more)"];
const THEMES = { attributes: true, attributeFilter: ["data-theme", "data-jp-theme-light", "class"] };

/** Call act() when the page or the system turns light, dark or high in contrast, so that what is
 * painted in ink is painted anew. Returns a function that ends it. */
export function whenColoursChange(act) {
  const soon = () => requestAnimationFrame(act);
  const queries = SCHEMES.map((scheme) => window.matchMedia(scheme));
  for (const query of queries) query.addEventListener("change", soon);
  const observer = new MutationObserver(soon);
  for (const element of [document.documentElement, document.body]) observer.observe(element, THEMES);
  return () => {
    observer.disconnect();
    for (const query of queries) query.removeEventListener("change", soon);
  };
}

/** The numbers of a computed colour, red, green and blue from 0 to 255. */
export function inkOf(element) {
  const numbers = getComputedStyle(element).color.match(/[\d.]+/g) ?? [0, 0, 0];
  return numbers.slice(0, 3).map(Number);
}

/** Paint maps (each of height x width values, 0 to `full`) side by side, as ink on the ground. */
function paintMaps(canvas, values, { count, height, width, columns, full }) {
  const gap = count > 1 ? 1 : 0;
  const rows = Math.ceil(count / columns);
  canvas.width = columns * (width + gap) - gap;
  canvas.height = rows * (height + gap) - gap;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(canvas.width, canvas.height);
  const ink = inkOf(canvas);
  for (let map = 0, from = 0; map < count; map += 1) {
    const top = Math.floor(map / columns) * (height + gap);
    const left = (map % columns) * (width + gap);
    for (let row = 0; row < height; row += 1) {
      for (let column = 0; column < width; column += 1, from += 1) {
        const place = 4 * ((top + row) * canvas.width + left + column);
        picture.data.set(ink, place);
        // A breath of ink everywhere in a map, so that it is seen to be there.
        const breath = count > 1 ? 10 : 0;
        const share = Math.min(1, Math.max(0, values[from] / full));
        picture.data[place + 3] = breath + (255 - breath) * share;
      }
    }
  }
  context.putImageData(picture, 0, 0);
}

/** Paint one image of 28x28 pixels as ink. */
export function paintImage(canvas, image) {
  paintMaps(canvas, image, { count: 1, height: 28, width: 28, columns: 1, full: 255 });
}

/** The 28x28 image that the network gets. */
export class ImageView {
  constructor() {
    this.canvas = make("canvas", {
      className: "image", width: 28, height: 28, role: "img", "aria-label": "",
    });
    this.element = make("figure", { className: "small" }, this.canvas,
      make("figcaption", {}, "28×28, as the network gets it"));
    this.show(null);
  }

  show(image) {
    this.image = image ?? new Uint8Array(784);
    this.canvas.setAttribute("aria-label", image
      ? "Your drawing as 28 by 28 grey pixels, fitted and centred as in MNIST."
      : "An empty image of 28 by 28 pixels.");
    this.paint();
  }

  paint() {
    paintImage(this.canvas, this.image);
  }
}

/** The 28x28 image at the size of the sheet, and the numbers round the pixel that is pointed at. */
export class PixelsView {
  constructor() {
    this.place = [14, 14]; // row and column
    this.canvas = make("canvas", {
      className: "image large", role: "img", tabIndex: 0,
      "aria-label": "Your drawing as 28 by 28 pixels. The arrow keys move from pixel to pixel.",
    });
    this.numbers = make("pre", { className: "numbers", "aria-hidden": "true" });
    this.sentence = make("p", { className: "pixel", role: "status" });
    this.element = make("figure", { className: "pixels" }, this.canvas,
      make("figcaption", {}, "28×28 pixels, fitted and centred as MNIST has them. Point at one to " +
        "see the numbers round it."),
      this.numbers, this.sentence);
    whenPointed(this.canvas, (x, y) => this.ask(Math.floor(y * SIDE), Math.floor(x * SIDE)));
    this.canvas.addEventListener("keydown", (event) => {
      const ways = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
      if (!Object.hasOwn(ways, event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      const [down, across] = ways[event.key];
      this.ask(this.place[0] + down, this.place[1] + across);
    });
    this.show(null);
  }

  show(image) {
    this.image = image ?? new Uint8Array(SIDE * SIDE);
    this.paint();
  }

  /** Show the numbers round a pixel; outside the image, round the nearest one inside. */
  ask(row, column) {
    this.place = [row, column].map((value) => Math.min(SIDE - 1, Math.max(0, value || 0)));
    const [y, x] = this.place;
    this.sentence.textContent =
      `Row ${y}, column ${x}, both counted from 0: ${this.image[y * SIDE + x]}.`;
    this.paint();
  }

  paint() {
    const [row, column] = this.place;
    paintImage(this.canvas, this.image);
    const context = this.canvas.getContext("2d");
    context.fillStyle = getComputedStyle(this.canvas).getPropertyValue("--pad-red") || "red";
    context.fillRect(column, row, 1, 1);
    const first = (value) => Math.min(SIDE - WINDOW, Math.max(0, value - (WINDOW - 1) / 2));
    const [top, left] = [first(row), first(column)];
    const lines = [];
    for (let y = top; y < top + WINDOW; y += 1) {
      for (let x = left; x < left + WINDOW; x += 1) {
        const number = String(this.image[y * SIDE + x]).padStart(3);
        const here = y === row && x === column;
        lines.push(here ? make("b", {}, number) : number, x < left + WINDOW - 1 ? " " : "\n");
      }
    }
    this.numbers.replaceChildren(...lines);
  }
}

/** An entry of a list: a small image with words under it. Whoever lists it paints it. */
export function thumbnail(image, words, wrong = false) {
  const canvas = make("canvas", {
    className: "image", width: 28, height: 28, "aria-hidden": "true",
  });
  canvas.image = image;
  return make("li", { className: wrong ? "wrong" : "" }, canvas, make("span", {}, words));
}

/** The digits that are most like the drawing, by what the last layer sees of both. */
export class NearestView {
  constructor() {
    this.list = make("ul", { className: "examples", "aria-label": "The most alike digits" });
    this.words = make("figcaption", {});
    this.element = make("figure", { hidden: true }, this.list, this.words);
  }

  /** digits are { image, features, label }; features may be null: nothing has been drawn. */
  show(digits, features, names) {
    this.element.hidden = !features || digits.length === 0;
    if (this.element.hidden) return;
    const nearest = findNearest(digits, features, 6);
    this.words.textContent =
      `The most alike of ${digits.length} digits, by what the last layer sees: ` +
      "the cosine between its inputs.";
    this.list.replaceChildren(...nearest.map(({ digit, likeness }) =>
      thumbnail(digit.image, `${names[digit.label]}: ${likeness.toFixed(2)}`)));
    this.paint();
  }

  paint() {
    for (const canvas of this.list.querySelectorAll("canvas")) paintImage(canvas, canvas.image);
  }
}

/** The `count` digits whose features have the largest cosine with those given, the largest first. */
export function findNearest(digits, features, count) {
  const dot = (one, other) => one.reduce((sum, value, k) => sum + value * other[k], 0);
  const length = Math.sqrt(dot(features, features)) || 1;
  return digits
    .map((digit) => {
      const own = Math.sqrt(dot(digit.features, digit.features)) || 1;
      return { digit, likeness: dot(digit.features, features) / (own * length) };
    })
    .sort((one, other) => other.likeness - one.likeness)
    .slice(0, count);
}

/** A bar for the probability of each class. */
export class BarsView {
  constructor() {
    this.element = make("ol", { className: "bars", "aria-label": "Probability of each class" });
    this.rows = [];
  }

  /** Probabilities may be null: nothing has been read. The best of them stands out. */
  show(names, probabilities, best) {
    if (names.join("\n") !== this.rows.map((row) => row.name).join("\n")) this.build(names);
    this.rows.forEach(({ item, bar, share }, k) => {
      const value = probabilities ? probabilities[k] : 0;
      bar.style.width = `${(100 * value).toFixed(1)}%`;
      share.textContent = probabilities ? percent(value, ">") : "";
      item.classList.toggle("best", k === best);
    });
  }

  build(names) {
    this.rows = names.map((name) => {
      const bar = make("span", { className: "bar" });
      const share = make("span", { className: "share" });
      const item = make("li", {},
        make("span", { className: "name" }, name), make("span", { className: "track" }, bar), share);
      return { name, item, bar, share };
    });
    this.element.replaceChildren(...this.rows.map((row) => row.item));
  }
}

const WORDS = {
  convolution: "sums under each kernel",
  "max pooling": "the largest of each 2×2",
  "batch norm and ReLU": "after batch norm and ReLU",
  "linear and ReLU": "hidden features after ReLU",
  ReLU: "after ReLU", // so far as a notebook knows
  GELU: "after GELU",
};

/** The maps of every layer, those that ReLU has passed on; where it follows a convolution, each pixel
 * can be asked where it is from. */
export class LayersView {
  constructor(network) {
    this.network = network;
    this.parts = network.steps.filter((step) => /(Re|GE)LU/.test(step.kind)).map((step, number) => {
      const { channels, height, width } = step;
      const columns = Math.min(channels, height > 10 ? 8 : 16);
      const size = height > 1 ? `${channels} maps of ${height}×${width}` : `${channels} numbers`;
      const canvas = make("canvas", {
        role: "img", "aria-label": `Layer ${number + 1}: ${size}, dark where a feature was found.`,
      });
      const caption = make("figcaption", {},
        make("b", {}, `Layer ${number + 1}`), ` ${size}, ${WORDS[step.kind]}`);
      const part = { step, canvas, columns, number };
      part.element = make("figure", {}, canvas, caption);
      if (this.sourceOf(step)) this.listen(part);
      return part;
    });
    this.sum = new SumView();
    this.place = null; // the pixel whose arithmetic is shown: { part, channel, row, column }
    const asks = this.parts.some((part) => this.sourceOf(part.step));
    this.element = make("div", { className: "layers" },
      ...(asks ? [make("p", { className: "advice" },
        "Point at a pixel of a map, or move there with the arrow keys, to see its arithmetic.")] : []),
      ...this.parts.map((part) => part.element), this.sum.element);
    this.paint();
  }

  /** The convolution that a step comes from, with the pooling between the two if there is one. */
  sourceOf(step) {
    const { steps } = this.network;
    const before = steps[steps.indexOf(step) - 1];
    const pooling = before?.kind === "max pooling" ? before : null;
    const convolution = pooling ? steps[steps.indexOf(pooling) - 1] : before;
    return convolution?.kind === "convolution" ? { pooling, convolution } : null;
  }

  listen(part) {
    const { canvas, step, columns } = part;
    canvas.tabIndex = 0;
    whenPointed(canvas, (shareX, shareY) => {
      const [x, y] = [Math.floor(shareX * canvas.width), Math.floor(shareY * canvas.height)];
      const [across, down] = [step.width + 1, step.height + 1]; // a gap of one between the maps
      const channel = Math.floor(y / down) * columns + Math.floor(x / across);
      const [row, column] = [y % down, x % across];
      if (channel < step.channels && row < step.height && column < step.width && x >= 0 && y >= 0) {
        this.ask({ part, channel, row, column });
      }
    });
    canvas.addEventListener("keydown", (event) => {
      const ways = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
      if (!Object.hasOwn(ways, event.key)) return;
      event.preventDefault();
      const here = this.place?.part === part ? this.place : { part, channel: 0, row: 0, column: -1 };
      const size = [columns * step.width, Math.ceil(step.channels / columns) * step.height];
      const at = [
        (here.channel % columns) * step.width + here.column,
        Math.floor(here.channel / columns) * step.height + here.row,
      ];
      const [dy, dx] = here.column < 0 ? [0, 1] : ways[event.key];
      const x = Math.min(size[0] - 1, Math.max(0, at[0] + dx));
      const y = Math.min(size[1] - 1, Math.max(0, at[1] + dy));
      const channel = Math.floor(y / step.height) * columns + Math.floor(x / step.width);
      if (channel >= step.channels) return;
      this.ask({ part, channel, row: y % step.height, column: x % step.width });
    });
  }

  ask(place) {
    this.place = place;
    this.paint();
  }

  paint() {
    for (const { step, canvas, columns } of this.parts) {
      const { channels, height, width, values } = step;
      const full = values.reduce((most, value) => Math.max(most, value), 1e-6);
      paintMaps(canvas, values, { count: channels, height, width, columns, full });
    }
    if (!this.place) return;
    const { part, channel, row, column } = this.place;
    const context = part.canvas.getContext("2d");
    context.fillStyle = getComputedStyle(part.element).getPropertyValue("--pad-red") || "red";
    context.fillRect(
      (channel % part.columns) * (part.step.width + 1) + column,
      Math.floor(channel / part.columns) * (part.step.height + 1) + row, 1, 1);
    this.sum.show(this.place, this.sourceOf(part.step));
  }
}

const valueAt = ({ values, height, width }, channel, row, column) =>
  values[(channel * height + row) * width + column];

/** Where, as [row, column], the largest of the four values is that 2x2 pooling makes one of. */
export function findLargest(step, channel, row, column) {
  return [0, 1, 2, 3]
    .map((k) => [2 * row + (k >> 1), 2 * column + (k & 1)])
    .reduce((one, other) =>
      (valueAt(step, channel, ...other) > valueAt(step, channel, ...one) ? other : one));
}

/** How one pixel of a map came about: what the kernel saw, the kernel, and their products. */
class SumView {
  constructor() {
    this.canvases = ["what it saw", "the kernel", "their products"].map((words) => {
      const canvas = make("canvas", { className: "grid", role: "img", "aria-label": words });
      return { canvas, words, element: make("figure", {}, canvas, make("figcaption", {}, words)) };
    });
    this.sentence = make("p", { role: "status" });
    const [saw, kernel, products] = this.canvases.map((part) => part.element);
    this.element = make("div", { className: "sum", hidden: true },
      make("div", { className: "row" }, saw, make("span", { "aria-hidden": "true" }, "×"), kernel,
        make("span", { "aria-hidden": "true" }, "="), products),
      this.sentence);
  }

  show({ part, channel, row, column }, { pooling, convolution }) {
    this.element.hidden = false;
    const { step, number } = part;
    // With pooling between, the largest of four sums was passed on; show that one.
    const [y, x] = pooling ? findLargest(convolution, channel, row, column) : [row, column];
    const patch = convolution.look(y, x);
    const { size, weight } = convolution;
    const length = patch.length;
    const kernel = weight.values.subarray(channel * length, (channel + 1) * length);
    const products = Float64Array.from(patch, (value, k) => value * kernel[k]);
    const depth = length / (size * size);
    const most = (values) => values.reduce((top, value) => Math.max(top, Math.abs(value)), 1e-9);
    // What it saw is shown against all that it could have seen, so that empty paper stays pale.
    [[patch, convolution.input.values], [kernel, kernel], [products, products]].forEach(
      ([values, range], k) =>
        paintSigned(this.canvases[k].canvas, values, { depth, size, full: most(range) }));
    const say = (value) =>
      (Math.abs(value) < 1e6 ? value.toFixed(2) : value.toExponential(2)).replaceAll("-", "−");
    const sum = valueAt(convolution, channel, y, x);
    const result = valueAt(step, channel, row, column);
    const maps = depth > 1 ? `, ${size * size} in each of ${depth} maps,` : "";
    const said =
      `Layer ${number + 1}, map ${channel + 1}, row ${row + 1}, column ${column + 1}: ` +
      `${length} products${maps} sum to ${say(sum)}${pooling ? ", the largest of four such sums" : ""}. ` +
      (result > 0 ? `Batch norm makes ${say(result)} of it.`
        : "Batch norm makes that negative or zero, and ReLU sets it to 0.");
    if (this.sentence.textContent !== said) this.sentence.textContent = said;
  }
}

/** Paint numbers as ink where they are positive and as red pen where they are negative. */
export function paintSigned(canvas, values, { depth, size, full }) {
  const columns = depth > 1 ? 8 : 1;
  const gap = depth > 1 ? 1 : 0;
  canvas.width = Math.min(depth, columns) * (size + gap) - gap;
  canvas.height = Math.ceil(depth / columns) * (size + gap) - gap;
  const context = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  const least = depth > 1 ? 0.04 : 0; // between maps there must be something to be seen
  for (let map = 0, place = 0; map < depth; map += 1) {
    const [left, top] = [(map % columns) * (size + gap), Math.floor(map / columns) * (size + gap)];
    for (let y = 0; y < size; y += 1) {
      for (let x = 0; x < size; x += 1, place += 1) {
        context.globalAlpha = least + ((1 - least) * Math.abs(values[place])) / full;
        context.fillStyle = values[place] < 0 ? style.getPropertyValue("--pad-red") : style.color;
        context.fillRect(left + x, top + y, 1, 1);
      }
    }
  }
}
