// Read a photo: chosen, taken with the camera, dropped or pasted. It is read here, in slices of time
// between which the page goes on; boxes are drawn on it, and what was not read is said.

import { findBest } from "./forward.js";
import { openPicture } from "./photo-file.js";
import { PhotoError } from "./photo-pieces.js";
import { WORKING_SIDE, searchPage } from "./photo.js";
import { make, paintImage, percent, thumbnail } from "./views.js";

const DOUBTFUL = 0.6; // somebody had better look at what is less probable; as in handwriting/reader.py
const SLICE = 30; // milliseconds after which the page may do something else
const SMALLEST_VIEW = 640; // pixels: a smaller picture is enlarged, so that boxes can be drawn on it
const WORKING = "Reading the photo …";
const WHERE = "Or drop one on the sheet, or paste it. It is read in this page and goes nowhere else.";
const WHAT_FOR = "Digits on paper that is lighter or darker than they are, one or a page of them; shadows, " +
  "ruled lines, frames and dark rims are taken away. These are the steps of chapter 14, but for two: " +
  "the digits of a turned page are not set upright, and strokes keep their width.";

const pause = () => new Promise((done) => { setTimeout(done); });

export class PhotoReader {
  /** network() returns what reads now. */
  constructor(network) {
    this.network = network;
    this.asked = 0; // numbers what was asked for: a photo that is read slowly does not win later
    this.taking = null; // the promise of the last photo
    this.page = null; // { canvas, lines, unread }, each digit { image, box, name, probability }
    this.input = this.chooser();
    this.camera = this.chooser();
    this.camera.setAttribute("capture", "environment"); // the camera that looks away from its owner
    this.put = make("button", { type: "button", hidden: true }, "Put it away");
    this.put.addEventListener("click", () => this.putAway());
    this.canvas = make("canvas", { className: "photo-page", role: "img", hidden: true });
    this.digits = make("p", { className: "digits" });
    this.words = make("p", { className: "said" });
    this.status = make("div", { className: "photo-read", role: "status" }, this.digits, this.words);
    this.got = make("ol", { className: "examples" });
    this.inside = make("details", { hidden: true },
      make("summary", {}, "See each digit as the network gets it"), this.got);
    this.inside.addEventListener("toggle", () => this.list());
    this.element = make("section", { className: "photo", "aria-label": "Photos" },
      make("div", { className: "row" },
        this.door("Read a photo", this.input), this.door("Use the camera", this.camera, "camera"),
        this.put, this.input, this.camera),
      make("p", { className: "advice" }, WHERE), this.canvas, this.status, this.inside,
      make("details", {}, make("summary", {}, "What a photo may show"),
        make("p", { className: "advice" }, WHAT_FOR)));
  }

  chooser() {
    const input = make("input", { type: "file", accept: "image/*", hidden: true });
    input.addEventListener("change", () => {
      const files = [...input.files];
      input.value = ""; // so that the same file can be chosen again
      this.take(files);
    });
    return input;
  }

  door(words, input, className = "") {
    const button = make("button", { type: "button", className }, words);
    button.addEventListener("click", () => input.click());
    return button;
  }

  /** Read the one picture among files; what is wrong with it is said, and the photo before it stays. */
  take(files) {
    if (files.length === 0) return this.taking; // the choice was cancelled
    this.taking = this.read(files);
    return this.taking;
  }

  async read(files) {
    const asked = (this.asked += 1);
    const isCurrent = () => asked === this.asked;
    this.words.textContent = WORKING;
    try {
      if (files.length > 1) throw new PhotoError(`One photo at a time; these are ${files.length}.`);
      const canvas = await openPicture(files[0], WORKING_SIDE);
      const found = await this.search(canvas, isCurrent);
      if (found && (await this.readAll(found, isCurrent))) this.show({ canvas, ...found });
    } catch (error) {
      if (!isCurrent()) return;
      const why = error instanceof PhotoError ? error.message : "The photo could not be read.";
      this.words.textContent = this.page ? `${why} The photo before it stays.` : why;
    }
  }

  /** Find the digits on a canvas; null if something else has been asked for in the meantime. */
  async search(canvas, isCurrent) {
    const { width, height } = canvas;
    const steps = searchPage(canvas.getContext("2d").getImageData(0, 0, width, height));
    for (;;) {
      await pause();
      if (!isCurrent()) return null;
      const { done, value } = steps.next();
      if (done) return value;
    }
  }

  /** Let the network read what was found; whether it came to its end. */
  async readAll({ lines }, isCurrent) {
    const network = this.network();
    let since = performance.now();
    for (const digit of lines.flat()) {
      const { probabilities } = network.read(digit.image);
      const best = findBest(probabilities);
      digit.name = best < 0 ? "?" : network.classNames[best];
      digit.probability = best < 0 ? 0 : probabilities[best];
      if (performance.now() - since < SLICE) continue;
      await pause();
      if (!isCurrent()) return false;
      since = performance.now();
    }
    return isCurrent();
  }

  /** Another network reads now, or the same one after a lesson: let it read the photo too. */
  async readAgain() {
    const { taking } = this;
    await taking; // a photo that is just being read is not given up for it
    if (!this.page || taking !== this.taking) return;
    const asked = (this.asked += 1);
    if (await this.readAll(this.page, () => asked === this.asked)) this.show(this.page);
  }

  show(page) {
    this.page = page;
    this.digits.replaceChildren(...page.lines.flatMap(writeLine));
    this.words.textContent = describe(page).join(" ");
    for (const element of [this.put, this.canvas, this.inside]) element.hidden = false;
    const count = page.lines.flat().length;
    this.canvas.setAttribute("aria-label",
      `Your photo, with a box round each of ${tell(count, "digit")} that were found.`);
    this.paint();
    this.list();
  }

  putAway() {
    this.asked += 1;
    this.page = null;
    for (const element of [this.digits, this.words, this.got]) element.replaceChildren();
    for (const element of [this.put, this.canvas, this.inside]) element.hidden = true;
    this.element.querySelector("button").focus();
  }

  /** List the images that the network got, if somebody looks. */
  list() {
    if (!this.page || !this.inside.open) return;
    this.got.replaceChildren(...this.page.lines.flat().map(({ image, name, probability }) =>
      thumbnail(image, `${name}: ${percent(probability, ">")}`, probability < DOUBTFUL)));
    this.paintList();
  }

  paintList() {
    for (const canvas of this.got.querySelectorAll("canvas")) paintImage(canvas, canvas.image);
  }

  /** Paint the photo with its boxes, in the colours of the page. */
  paint() {
    if (!this.page) return;
    this.paintList();
    const { canvas: photo, lines, unread } = this.page;
    const scale = Math.max(1, SMALLEST_VIEW / Math.max(photo.width, photo.height));
    this.canvas.width = Math.round(photo.width * scale);
    this.canvas.height = Math.round(photo.height * scale);
    const context = this.canvas.getContext("2d");
    context.imageSmoothingEnabled = scale < 4;
    context.drawImage(photo, 0, 0, this.canvas.width, this.canvas.height);
    const shown = this.canvas.getBoundingClientRect().width || this.canvas.width;
    const pixel = this.canvas.width / shown; // of the screen, in pixels of the canvas
    for (const box of unread) drawBox(context, { box, scale, pixel, colour: "--pad-red" });
    for (const { box, name, probability } of lines.flat()) {
      const colour = probability < DOUBTFUL ? "--pad-red" : "--pad-blue";
      drawBox(context, { box, scale, pixel, colour, name });
    }
  }
}

/** Draw a box, with a tag above it that says what was read; without a name it is dashed. */
function drawBox(context, { box, scale, pixel, colour, name }) {
  const style = getComputedStyle(context.canvas);
  const [ink, paper] = [colour, "--pad-paper"].map((value) => style.getPropertyValue(value));
  const [left, top] = [box.left * scale - 2 * pixel, box.top * scale - 2 * pixel];
  const [width, height] =
    [(box.right - box.left) * scale + 4 * pixel, (box.bottom - box.top) * scale + 4 * pixel];
  context.setLineDash(name ? [] : [4 * pixel, 3 * pixel]);
  // On a wider line of the other shade, it is seen on light paper and on dark.
  for (const [shade, thickness] of [[paper, 4], [ink, 2]]) {
    context.lineWidth = thickness * pixel;
    context.strokeStyle = shade;
    context.strokeRect(left, top, width, height);
  }
  if (!name) return;
  const size = pixel * Math.max(9, Math.min((0.35 * height) / pixel, 22));
  context.font = `600 ${size}px system-ui, sans-serif`;
  const tag = Math.max(size, context.measureText(name).width + 0.5 * size);
  const above = Math.max(0, top - 1.15 * size); // at the upper edge it lies within the box
  context.fillStyle = ink;
  context.fillRect(left - pixel, above, tag, 1.2 * size);
  context.fillStyle = paper;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(name, left - pixel + tag / 2, above + 0.63 * size);
}

const tell = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** A line of what was read; doubtful digits stand out. */
function writeLine(line, number) {
  const isLong = line.some(({ name }) => name.length > 1);
  const words = line.flatMap(({ name, probability }, place) => [
    isLong && place > 0 ? " " : "",
    probability < DOUBTFUL ? make("em", { title: percent(probability) }, name) : name,
  ]);
  return number > 0 ? [make("br"), ...words] : words;
}

/** What there is to say of a page: how sure, what is doubtful, what was not read. */
export function describe({ lines, unread }) {
  const digits = lines.flat();
  const doubtful = digits.filter(({ probability }) => probability < DOUBTFUL).length;
  const least = digits.reduce((one, other) => (other.probability < one.probability ? other : one));
  const line = lines.findIndex((entries) => entries.includes(least)) + 1;
  const where = lines.length > 1 ? ` in line ${line}` : "";
  const sentences = [digits.length === 1
    ? `I read one digit, ${least.name} (${percent(least.probability)}).`
    : `I read ${digits.length} digits in ${tell(lines.length, "line")}; the least certain is the ` +
      `${least.name}${where} (${percent(least.probability)}).`];
  if (doubtful > 0) {
    sentences.push(`${doubtful} of them ${doubtful === 1 ? "is" : "are"} doubtful, below ` +
      `${percent(DOUBTFUL)}, in red: look at ${doubtful === 1 ? "it" : "them"} yourself.`);
  }
  for (const reason of new Set(unread.map((box) => box.reason))) {
    const count = unread.filter((box) => box.reason === reason).length;
    sentences.push(`${tell(count, "mark")}, in ${count === 1 ? "a dashed box" : "dashed boxes"}, ` +
      `${count === 1 ? "was" : "were"} not read: ${reason}.`);
  }
  return sentences;
}
