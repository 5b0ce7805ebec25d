// <digit-attention>: draw a digit, and see where a transformer looks and what it paints.
//
// The linked script calls `start` with the weights, in base64. What a page shows where no script runs
// stands between the tags. The attribute `from-cell` says that a notebook's model would be shown there.

import { AttentionPanel } from "./attention-panel.js";
import { openTransformer } from "./transformer.js";

const NOT_YOURS = "On this page a transformer answers that was trained for it; the one that you train " +
  "in the notebook answers there, in the same place. ";

let weights = null; // Uint8Array

/** What is known of the page's own network: how it did on digits that it had not learnt from. */
export function describeScores(scores) {
  if (!scores) return "";
  const share = (value) => `${(100 * value).toFixed(1)}\u00a0%`;
  return `Of ${scores.count.toLocaleString("en")} digits that it has not learnt from, it reads ` +
    `${share(scores.whole)}; with half of the patches hidden, drawn anew for each, ${share(scores.half)}.`;
}

class DigitAttention extends HTMLElement {
  connectedCallback() {
    if (this.panel) return; // moved within the page
    const network = openTransformer(weights);
    const note = (this.hasAttribute("from-cell") ? NOT_YOURS : "") + describeScores(network.card.scores);
    this.panel = new AttentionPanel(this.attachShadow({ mode: "open" }), network, note);
  }
}

/** Give every <digit-attention> of the page life. */
export function start(network) {
  weights = Uint8Array.from(atob(network), (letter) => letter.charCodeAt(0));
  if (!customElements.get("digit-attention")) customElements.define("digit-attention", DigitAttention);
}
