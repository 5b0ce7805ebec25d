// Let another model read: a file that `python -m mnist_lab export DIR --format web` wrote.
// The file stays in the page. What is wrong with it is said in a sentence, and changes nothing.

import { FileError } from "./safetensors.js";
import { make } from "./views.js";

export class OwnModel {
  /** Take files dropped on `host`; `use(bytes)` lets a model read, null the book's own. */
  constructor(host, use) {
    this.use = use;
    this.status = make("p", { role: "status", className: "said" });
    this.input = make("input", { type: "file", accept: ".safetensors" });
    this.input.addEventListener("change", () => this.take(this.input.files[0]));
    this.back = make("button", { type: "button", hidden: true }, "Back to the book's network");
    this.back.addEventListener("click", () => this.open(null));
    this.element = make("details", {},
      make("summary", {}, "Let your own model read"),
      make("div", { className: "folded" },
        make("p", {}, "Train a network, write it as one file, and drop the file here:"),
        make("pre", { tabIndex: 0 },
          "python -m mnist_lab train --preset standard --out runs/mine\n" +
          "python -m mnist_lab export runs/mine --format web --out mine.safetensors"),
        make("div", { className: "row" },
          make("label", { className: "file" }, "Model file ", this.input), this.back),
        this.status));
    host.addEventListener("dragover", (event) => {
      if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
    });
    host.addEventListener("drop", (event) => {
      const file = event.dataTransfer?.files[0];
      if (!file) return;
      event.preventDefault();
      this.element.open = true;
      this.take(file);
    });
  }

  async take(file) {
    if (!file) return;
    let bytes = null;
    try {
      // A huge file is refused by its size, before it is read.
      bytes = file.size > 2_000_000 ? new Uint8Array(2_000_001) : new Uint8Array(await file.arrayBuffer());
    } catch {
      this.status.textContent = "The file could not be read from your disk.";
      return;
    }
    this.open(bytes);
    this.input.value = "";
  }

  open(bytes) {
    try {
      this.use(bytes);
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      this.status.textContent = `${error.message} The network before it goes on reading.`;
      return;
    }
    this.back.hidden = bytes === null;
    this.status.textContent = bytes === null
      ? "The book's network reads again." : "Your model reads now. Draw something.";
  }
}
