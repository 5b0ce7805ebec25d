// Let another model read: a file that `python -m mnist_lab export DIR --format web` wrote.
// The file stays in the page. What is wrong with it is said in a sentence, and changes nothing.

import { FileError, demand, readBytes } from "./safetensors.js";
import { make } from "./views.js";

export class OwnModel {
  /** `use(bytes)` lets a model read, null the book's own. When it throws, the network before it must
   * still be the one that reads. */
  constructor(use) {
    this.use = use;
    this.asked = 0; // numbers what was asked for: a file that is read slowly does not win later
    this.status = make("p", { role: "status", className: "said" });
    this.input = make("input", { type: "file", accept: ".safetensors,.gz" });
    this.input.addEventListener("change", () => this.take([...this.input.files]));
    this.back = make("button", { type: "button", hidden: true }, "Back to the book's network");
    this.back.addEventListener("click", () => {
      this.asked += 1;
      this.open(null);
    });
    this.element = make("details", {},
      make("summary", {}, "Let your own model read"),
      make("div", { className: "folded" },
        make("p", {}, "Train a network, write it as one file, and drop the file here:"),
        make("pre", { tabIndex: 0 },
          "python -m mnist_lab train --preset standard\n" +
          "python -m mnist_lab export runs/standard --format web --out mine.safetensors"),
        make("div", { className: "row" },
          make("label", { className: "file" }, "Model file ", this.input), this.back),
        this.status));
  }

  /** Let the model of the one file read. */
  async take(files) {
    if (files.length === 0) return; // the choice was cancelled
    this.element.open = true;
    const asked = (this.asked += 1);
    try {
      demand(files.length === 1, `One file holds a model; these are ${files.length}.`);
      const bytes = await readBytes(files[0]);
      if (asked === this.asked) this.open(bytes);
    } catch (error) {
      if (asked === this.asked) this.refuse(error);
    }
    this.input.value = ""; // so that the same file can be chosen again
  }

  open(bytes) {
    try {
      this.use(bytes);
    } catch (error) {
      this.refuse(error);
      return;
    }
    this.back.hidden = bytes === null;
    this.status.textContent = bytes === null
      ? "The book's network reads again." : "Your model reads now. Draw something.";
  }

  /** Say what is wrong; whatever was thrown, it has changed nothing. */
  refuse(error) {
    const why = error instanceof FileError ? error.message : "The file cannot be used.";
    this.status.textContent = `${why} The network before it goes on reading.`;
  }
}
