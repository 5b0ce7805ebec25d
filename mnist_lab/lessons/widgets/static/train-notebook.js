// The training panel in a notebook (anywidget): it trains in the reader's browser, as on a page.

import { readSent } from "./digits.js";
import { TrainingPanel } from "./training-panel.js";

export function render({ model, el }) {
  const host = document.createElement("div");
  host.className = "train-here-host";
  host.setAttribute("data-lm-suppress-shortcuts", "true"); // JupyterLab's keys are ours while drawing
  el.append(host);
  const memory = { read: () => null, write: () => {} };
  const panel = new TrainingPanel(host.attachShadow({ mode: "open" }), { digits: readSent(model), memory });
  return () => panel.close();
}
