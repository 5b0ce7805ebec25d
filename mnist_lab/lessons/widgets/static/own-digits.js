// Digits of the reader's own hand, to train on: drawn here, kept in "Teach it", or from files of a class.
// They stay in the page; a file is saved and read on the reader's machine.

import { MOST_DIGITS, readDigitsFile, writeDigitsFile } from "./npz.js";
import { Panel } from "./panel.js";
import { FileError, readBytes } from "./safetensors.js";
import { make, paintImage, thumbnail } from "./views.js";

const LARGEST_FILE = 5_000_000; // bytes; that many have room for 5,000 digits, with nothing packed
const HUGE = "The file is larger than 5 MB, which is more than a class can draw.";
const FULL = `More than ${MOST_DIGITS.toLocaleString("en")} digits are too many for this page.`;
const MOST_SHOWN = 24;
const SHARE = 0.1; // of what is learnt from, that the own digits are to make up
const MOST_REPEATS = 20;
const ASIDE = 3; // every third digit of a class is not learnt from

const noun = (number) => `${number.toLocaleString("en")} digit${number === 1 ? "" : "s"}`;

/** Part digits: every third of each class is set aside, to be scored on; the others are learnt from. */
export function partDigits(digits) {
  const seen = new Map();
  const [learnt, aside] = [[], []];
  for (const digit of digits) {
    const number = (seen.get(digit.label) ?? 0) + 1;
    seen.set(digit.label, number);
    (number % ASIDE === 0 ? aside : learnt).push(digit);
  }
  return { learnt, aside };
}

/** How often so few digits are repeated beside so many others: to a tenth of all, 20 times at most. */
export function countRepeats(own, others) {
  if (own === 0) return 0;
  return Math.min(MOST_REPEATS, Math.max(1, Math.round((SHARE * others) / ((1 - SHARE) * own))));
}

/** { images, labels } with own digits behind, each so often. */
export function addDigits({ images, labels }, digits, repeats) {
  const count = labels.length + digits.length * repeats;
  const all = { images: new Uint8Array(count * 784), labels: new Uint8Array(count) };
  all.images.set(images);
  all.labels.set(labels);
  for (let k = labels.length; k < count; k += 1) {
    const { image, label } = digits[(k - labels.length) % digits.length];
    all.images.set(image, 784 * k);
    all.labels[k] = label;
  }
  return all;
}

/** The digits, and the folded part of a panel in which they are drawn, listed, saved and loaded. */
export class OwnDigits {
  /** `onChange()` is called when there are more of them, or none any more. */
  constructor(onChange) {
    this.onChange = onChange;
    this.digits = [];
    this.known = new Set(); // of what is there already: the same drawing is taken once
    this.title = make("summary", {});
    this.choice = make("select", {}, ...[...Array(10).keys()].map((digit) =>
      make("option", {}, String(digit))));
    this.choice.setAttribute("aria-label", "It is");
    this.list = make("ul", { className: "examples", "aria-label": "Digits of your own" });
    this.status = make("p", { role: "status", className: "said" });
    this.place = make("div", { className: "pad" });
    const button = (words, act) => {
      const one = make("button", { type: "button" }, words);
      one.addEventListener("click", act);
      return one;
    };
    this.keepButton = button("Keep this digit", () => this.keep());
    this.saveButton = button("Save them as a file", () => this.save());
    this.forgetButton = button("Forget them", () => this.forget());
    this.input = make("input", { type: "file", accept: ".npz", multiple: true });
    this.input.addEventListener("change", () => this.load([...this.input.files]));
    this.element = make("details", { className: "own" }, this.title,
      make("div", { className: "folded" },
        make("p", {}, "Draw a digit, say which it is, and keep it. What you keep under “Teach it” on this " +
          "page comes here too, and a class can pool its files. Every third of each digit is set aside: " +
          "the network does not learn from it, and is asked to read it. Nothing leaves this page."),
        this.place,
        make("div", { className: "row" }, make("label", {}, "It is ", this.choice), this.keepButton),
        this.list,
        make("div", { className: "row" }, this.saveButton, this.forgetButton,
          make("label", { className: "file" }, "Add files ", this.input)),
        this.status));
    this.element.addEventListener("toggle", () => this.element.open && this.openPad());
    this.refresh();
  }

  /** A pad of this page tells what is kept there; what was kept before is asked for. */
  listen() {
    this.hear = ({ detail }) => this.take([detail]);
    document.addEventListener("digit-kept", this.hear);
    for (const pad of document.querySelectorAll("digit-pad")) this.take(pad.kept ?? []);
  }

  close() {
    document.removeEventListener("digit-kept", this.hear);
  }

  openPad() {
    this.pad ??= new Panel(this.place.attachShadow({ mode: "open" }), () => {}, { reads: false });
  }

  /** Take digits { image, label }, or { image, name } of a pad; returns how many of them are new. */
  take(given) {
    let taken = 0;
    for (const { image, label, name = String(label) } of given) {
      if (!/^\d$/.test(name) || this.digits.length >= MOST_DIGITS) continue;
      const mark = `${name} ${image.join()}`;
      if (this.known.has(mark)) continue;
      this.known.add(mark);
      this.digits.push({ image: Uint8Array.from(image), label: Number(name) });
      taken += 1;
    }
    if (taken > 0) this.changed();
    return taken;
  }

  keep() {
    if (!this.pad?.image) {
      this.status.textContent = "Draw something first.";
      return;
    }
    const taken = this.take([{ image: this.pad.image, label: Number(this.choice.value) }]);
    this.status.textContent = taken ? `Kept: ${noun(this.digits.length)}.`
      : this.digits.length >= MOST_DIGITS ? FULL : "This very drawing is there already.";
    if (taken) this.pad.pad.clear();
  }

  forget() {
    this.digits = [];
    this.known.clear();
    this.changed();
    this.status.textContent = "They are forgotten. A file that you have saved still has them.";
  }

  save() {
    const file = new Blob([writeDigitsFile(this.digits)], { type: "application/octet-stream" });
    const address = URL.createObjectURL(file);
    make("a", { href: address, download: "my-digits.npz" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
    this.status.textContent = `Saved ${noun(this.digits.length)} as my-digits.npz. This page reads it ` +
      "again, and so does python -m mnist_lab finetune, after --data.";
  }

  /** Add the digits of files; what is wrong with one is said, and does not keep the others away. */
  async load(files) {
    if (files.length === 0) return; // the choice was cancelled
    let [found, taken, others] = [0, 0, 0];
    const wrong = [];
    for (const file of files) {
      try {
        const read = await readDigitsFile(await readBytes(file, LARGEST_FILE, HUGE));
        found += read.digits.length;
        others += read.others;
        taken += this.take(read.digits);
      } catch (error) {
        const why = error instanceof FileError ? error.message : "The file cannot be read.";
        wrong.push(files.length > 1 ? `${file.name}: ${why}` : why);
      }
    }
    this.input.value = ""; // so that the same file can be chosen again
    const words = [];
    if (found > 0) {
      words.push(`Added ${noun(taken)}` + (taken < found
        ? `; ${(found - taken).toLocaleString("en")} were there already, or are too many.` : "."));
    }
    if (others > 0) words.push(`${others.toLocaleString("en")} drawings of other signs were left out.`);
    this.status.textContent = [...words, ...wrong].join(" ") || "The file holds no digit.";
  }

  changed() {
    this.refresh();
    this.onChange();
  }

  refresh() {
    const count = this.digits.length;
    this.title.textContent = `Digits of your own hand (${count.toLocaleString("en")})`;
    this.saveButton.disabled = count === 0;
    this.forgetButton.disabled = count === 0;
    this.list.replaceChildren(...this.digits.slice(-MOST_SHOWN).map(({ image, label }) =>
      thumbnail(image, String(label))));
    this.paint();
  }

  paint() {
    for (const canvas of this.list.querySelectorAll("canvas")) paintImage(canvas, canvas.image);
  }
}
