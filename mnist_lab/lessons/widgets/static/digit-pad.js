// <digit-pad>: the pad on a page, with a network that runs in the page.
//
// The linked script calls `start` with the weights and some digits, in base64. What a page shows
// where no script runs stands between the tags. Attributes: `layers` and `kernel` open these views,
// `from-cell` says that a notebook's model would read there, and `only-draws` that none would.

import { findBest, openNetwork } from "./forward.js";
import { KernelView } from "./kernel.js";
import { OwnModel } from "./own-model.js";
import { Panel } from "./panel.js";
import { isPicture } from "./photo-file.js";
import { PhotoReader } from "./photo-view.js";
import { Lesson } from "./teach.js";
import { LayersView, NearestView, make } from "./views.js";

const NOT_YOURS =
  "On this page the book's own network reads. A model that you train in the notebook reads there, in " +
  "the same place.";
const SLOW = 12; // milliseconds; a machine that needs longer reads when a stroke has ended

let weights = null; // of the book's network: Uint8Array
let oldDigits = ""; // address of a picture of MNIST digits, for what a lesson makes it forget

function decode(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

class DigitPad extends HTMLElement {
  connectedCallback() {
    if (this.panel) return; // moved within the page
    // Made here and not by the parser's constructor: what stands between the tags is kept for print.
    const root = this.attachShadow({ mode: "open" });
    this.kernel = new KernelView(this.hasAttribute("kernel"));
    if (this.hasAttribute("only-draws")) {
      this.panel = new Panel(root, (strokes, image) => this.kernel.show(image), { reads: false });
      if (this.hasAttribute("kernel")) this.panel.below.append(this.kernel.element);
      this.panel.pictures.push(this.kernel);
      return;
    }
    this.panel = new Panel(root, (strokes, image, finished) => this.read(image, finished));
    if (this.hasAttribute("from-cell")) {
      this.panel.below.append(make("p", { className: "advice" }, NOT_YOURS));
    }
    this.inside = make("details", { className: "inside" },
      make("summary", {}, "See what each layer found in it"));
    this.inside.open = this.hasAttribute("layers");
    this.inside.addEventListener("toggle", () => {
      if (this.inside.open) this.lesson.prepare();
      this.look();
    });
    this.nearest = new NearestView();
    this.lesson = new Lesson({
      network: () => this.network,
      image: () => this.panel.image,
      oldDigits,
      onKeep: (detail) => {
        this.panel.pad.clear();
        this.dispatchEvent(new CustomEvent("digit-kept", { detail, bubbles: true })); // to train on
      },
      onLearn: () => {
        this.panel.changed(true);
        this.photo.readAgain();
      },
    });
    this.own = new OwnModel((bytes) => this.use(openNetwork(bytes ?? weights)));
    this.photo = new PhotoReader(() => this.network);
    this.panel.below.append(
      this.photo.element, this.inside, this.kernel.element, this.lesson.element, this.own.element);
    this.panel.pictures.push(this.lesson, this.kernel, this.nearest, this.photo);
    this.takeWhatIsDropped();
    document.addEventListener("paste", (event) => this.takeWhatIsPasted(event));
    this.use(openNetwork(weights));
  }

  /** Let another network read; when it cannot, this throws, and the one before goes on. */
  use(network) {
    const layers = new LayersView(network);
    // Once now, so that the browser has compiled it before somebody draws.
    network.read(this.image ?? new Uint8Array(784));
    this.panel.pictures = this.panel.pictures.filter((picture) => picture !== this.layers);
    this.layers?.element.remove();
    this.network = network;
    this.layers = layers;
    this.lesson.begin();
    this.inside.hidden = this.layers.parts.length === 0;
    this.inside.append(this.layers.element, this.nearest.element);
    this.panel.pictures.push(this.layers);
    this.panel.changed(true);
    this.photo.readAgain();
  }

  /** Pictures are read; any other file should be a model. */
  takeWhatIsDropped() {
    const mark = (isOver) => this.panel.element.classList.toggle("dropping", isOver);
    this.addEventListener("dragover", (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      mark(true);
    });
    this.addEventListener("dragleave", () => mark(false));
    this.addEventListener("drop", (event) => {
      mark(false);
      const files = [...(event.dataTransfer?.files ?? [])];
      if (files.length === 0) return;
      event.preventDefault();
      if (files.some(isPicture)) this.photo.take(files);
      else this.own.take(files);
    });
  }

  /** A pasted picture goes to the pad that has the focus; if none has it, to the first of the page. */
  takeWhatIsPasted(event) {
    const files = [...(event.clipboardData?.files ?? [])].filter(isPicture);
    if (files.length === 0 || !this.isConnected) return;
    const focused = document.activeElement?.closest("digit-pad");
    const target = focused?.photo ? focused : [...document.querySelectorAll("digit-pad")].find((pad) => pad.photo);
    if (target !== this) return;
    event.preventDefault();
    this.photo.take(files);
  }

  read(image, finished) {
    if (!image) {
      this.result = null;
      this.panel.show(this.network.classNames, null);
    } else if (finished || !(this.milliseconds > SLOW)) {
      const before = performance.now();
      const result = this.network.read(image);
      this.milliseconds = performance.now() - before;
      this.result = findBest(result.probabilities) < 0 ? null : result;
      this.panel.show(this.network.classNames, result.probabilities);
    }
    if (finished || !(this.milliseconds > SLOW)) this.look();
    this.kernel.show(image);
    this.dispatchEvent(new CustomEvent("read", { detail: this.result }));
  }

  /** Show what the layers found, if somebody looks. */
  look() {
    if (!this.inside.open || !this.layers) return;
    this.layers.paint();
    const features = this.result ? this.network.steps.at(-1).input.values : null;
    this.nearest.show(this.lesson.old ?? [], features, this.network.classNames);
  }

  /** The strokes on the sheet: points [x, y] from 0 to 1. What is set is read, and comes back. */
  get strokes() {
    return this.panel.pad.strokes;
  }

  set strokes(strokes) {
    this.panel.pad.strokes = strokes;
  }

  /** What has been kept under "Teach it": { image, name } each. */
  get kept() {
    return this.lesson?.examples ?? [];
  }

  /** The book's own network, for whoever wants to compare another with it. */
  static openBook() {
    return openNetwork(weights);
  }

  /** The 28x28 image (Uint8Array), or null if there is none. */
  get image() {
    return this.panel.image;
  }
}

/** Give every <digit-pad> of the page life: weights and a PNG of digits, both in base64. */
export function start(network, digits) {
  weights = decode(network);
  oldDigits = `data:image/png;base64,${digits}`;
  if (!customElements.get("digit-pad")) customElements.define("digit-pad", DigitPad);
}
