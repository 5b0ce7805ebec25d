// <train-here>: a network that is trained from nothing, in the page, before the reader's eyes.
//
// The linked script calls `start` with two pictures of digits, in base64. What a page shows where no
// script runs stands between the tags. Attribute: `chapters`, where the book's chapters are.

import { readBoth } from "./digits.js";
import { TrainingPanel } from "./training-panel.js";

const KEY = "mnist-lab training"; // of the settings, which this browser keeps

let digits = null; // a promise, the same for every panel of the page
let readThem = null;

/** The settings that were chosen last; a browser may keep none. */
const memory = {
  read() {
    try {
      return JSON.parse(window.localStorage.getItem(KEY));
    } catch {
      return null;
    }
  },
  write(settings) {
    try {
      window.localStorage.setItem(KEY, JSON.stringify(settings));
    } catch {
      // They count all the same, until the page is left.
    }
  },
};

class TrainHere extends HTMLElement {
  connectedCallback() {
    const root = this.shadowRoot ?? this.attachShadow({ mode: "open" });
    root.replaceChildren();
    this.panel = new TrainingPanel(root, {
      digits: (digits ??= readThem()),
      chapters: this.getAttribute("chapters"),
      memory,
      openBook: () => customElements.get("digit-pad").openBook(),
    });
  }

  disconnectedCallback() {
    this.panel.close();
  }
}

/** Give every <train-here> of the page life: two PNGs, those to learn from and others, in base64. */
export function start(...contents) {
  readThem = () => readBoth(...contents.map((content) => `data:image/png;base64,${content}`));
  if (!customElements.get("train-here")) customElements.define("train-here", TrainHere);
}
