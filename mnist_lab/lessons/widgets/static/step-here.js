// <step-here>: gradient descent one step at a time, in the page, with every number of each step.
//
// The linked script calls `start` with two pictures of digits, in base64. What a page shows where no
// script runs stands between the tags. Attribute: `network`, one of "linear", "mlp" and "cnn".

import { readBoth } from "./digits.js";
import { StepPanel } from "./step-panel.js";

let digits = null; // a promise, the same for every panel of the page
let readThem = null;

class StepHere extends HTMLElement {
  connectedCallback() {
    const root = this.shadowRoot ?? this.attachShadow({ mode: "open" });
    root.replaceChildren();
    this.panel = new StepPanel(root, {
      kind: this.getAttribute("network"), digits: (digits ??= readThem()),
    });
  }

  disconnectedCallback() {
    this.panel.close();
  }
}

/** Give every <step-here> of the page life: two PNGs, those to learn from and others, in base64. */
export function start(...contents) {
  readThem = () => readBoth(...contents.map((content) => `data:image/png;base64,${content}`));
  if (!customElements.get("step-here")) customElements.define("step-here", StepHere);
}
