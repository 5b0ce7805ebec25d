// The panel that takes gradient steps, in a notebook (anywidget).

import { readSent } from "./digits.js";
import { StepPanel } from "./step-panel.js";

export function render({ model, el }) {
  const host = document.createElement("div");
  host.className = "step-here-host";
  host.setAttribute("data-lm-suppress-shortcuts", "true"); // JupyterLab's keys are ours in here
  el.append(host);
  const panel = new StepPanel(host.attachShadow({ mode: "open" }),
    { kind: model.get("network"), digits: readSent(model) });
  return () => panel.close();
}
