// A kernel to edit: nine numbers, laid over every pixel of the drawing. The chapter on convolutions
// explains it.

import { convolve } from "./forward.js";
import { make, paintSigned } from "./views.js";

const SIDE = 28;
const LARGEST = 99; // of a number in the kernel
const PRESETS = {
  "vertical edges": [-1, 0, 1, -2, 0, 2, -1, 0, 1],
  "horizontal edges": [-1, -2, -1, 0, 0, 0, 1, 2, 1],
  outline: [-1, -1, -1, -1, 8, -1, -1, -1, -1],
  blur: [1, 1, 1, 1, 1, 1, 1, 1, 1],
  "nothing at all": [0, 0, 0, 0, 1, 0, 0, 0, 0],
};
const OWN = "my own";

export class KernelView {
  constructor(open = false) {
    this.image = { channels: 1, height: SIDE, width: SIDE, values: new Float32Array(SIDE * SIDE) };
    this.numbers = Array.from({ length: 9 }, (_, k) => {
      const number = make("input", {
        type: "number", step: "0.5", min: -LARGEST, max: LARGEST, autocomplete: "off",
        "aria-label": `Row ${Math.floor(k / 3) + 1}, column ${(k % 3) + 1}`,
      });
      number.addEventListener("input", () => {
        this.choice.value = OWN;
        this.paint();
      });
      return number;
    });
    this.choice = make("select", {},
      ...[...Object.keys(PRESETS), OWN].map((name) => make("option", {}, name)));
    this.choice.addEventListener("change", () => this.fill());
    this.canvas = make("canvas", {
      className: "image", role: "img",
      "aria-label": "Your drawing under this kernel: positive sums in ink, negative ones in red.",
    });
    this.element = make("details", {},
      make("summary", {}, "Try a kernel of your own"),
      make("div", { className: "folded" },
        make("p", {}, "Laid over each pixel of the 28×28 image, the nine numbers are multiplied with " +
          "what is under them and summed up. The first layer of the book's network has sixteen such " +
          "kernels, of 5×5, which nobody wrote down: it learnt them."),
        make("div", { className: "row" },
          make("label", {}, "Start from ", this.choice),
          make("div", { className: "kernel", role: "group", "aria-label": "Kernel" }, ...this.numbers),
          make("figure", { className: "applied" }, this.canvas,
            make("figcaption", {}, "ink: above zero, red: below")))));
    this.element.open = open;
    this.element.addEventListener("toggle", () => this.paint());
    this.fill();
  }

  /** Take the numbers of the chosen kernel. */
  fill() {
    const values = PRESETS[this.choice.value];
    if (values) this.numbers.forEach((number, k) => { number.value = values[k]; });
    this.paint();
  }

  /** Show another drawing, or none. */
  show(pixels) {
    this.image.values.forEach((_, k, all) => { all[k] = pixels ? pixels[k] / 255 : 0; });
    this.paint();
  }

  paint() {
    if (!this.element?.open) return;
    const limit = (value) => Math.min(LARGEST, Math.max(-LARGEST, value));
    const values = this.numbers.map((number) => limit(Number(number.value) || 0));
    this.step = convolve("kernel", this.image, { shape: [1, 1, 3, 3], values }, 1, 1);
    this.step.run();
    const full = this.step.values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-9);
    paintSigned(this.canvas, this.step.values, { depth: 1, size: SIDE, full });
  }
}
