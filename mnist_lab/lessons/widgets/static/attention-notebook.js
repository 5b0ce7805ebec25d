// The attention panel in a notebook (anywidget): the reader's own transformer, in their browser.

import { AttentionPanel } from "./attention-panel.js";
import { openTransformer } from "./transformer.js";

export function render({ model, el }) {
  const host = document.createElement("div");
  host.className = "digit-attention-host";
  host.setAttribute("data-lm-suppress-shortcuts", "true"); // JupyterLab's keys are ours while drawing
  el.append(host);
  const { buffer, byteOffset, byteLength } = model.get("weights");
  const network = openTransformer(new Uint8Array(buffer, byteOffset, byteLength));
  new AttentionPanel(host.attachShadow({ mode: "open" }), network);
}
