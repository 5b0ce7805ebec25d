// The pad in a notebook (anywidget): it draws here, and the model in Python reads.

import { Panel } from "./panel.js";

const PAUSE = 120; // milliseconds between two messages while a stroke grows

export function render({ model, el }) {
  const host = document.createElement("div");
  host.className = "digit-pad-host";
  host.setAttribute("data-lm-suppress-shortcuts", "true"); // JupyterLab's keys are ours while drawing
  el.append(host);
  let timer = 0;
  let mine = false; // whether the change of strokes came from here
  const send = (strokes) => {
    clearTimeout(timer);
    timer = 0;
    mine = true;
    model.set("strokes", strokes);
    model.save_changes();
    mine = false;
  };
  const names = () => model.get("class_names");
  const panel = new Panel(host.attachShadow({ mode: "open" }), (strokes, image, finished) => {
    if (!image) panel.show(names(), null);
    if (finished) send(strokes);
    else timer ||= setTimeout(() => send(panel.pad.strokes), PAUSE);
  });
  const show = () => {
    const probabilities = model.get("probabilities");
    panel.show(names(), probabilities.length > 0 && panel.image ? probabilities : null);
  };
  const take = () => {
    if (!mine) panel.pad.strokes = model.get("strokes");
  };
  if (model.get("strokes").length > 0) take();
  show();
  model.on("change:probabilities", show);
  model.on("change:class_names", show);
  model.on("change:strokes", take);
  return () => {
    clearTimeout(timer);
    model.off("change:probabilities", show);
    model.off("change:class_names", show);
    model.off("change:strokes", take);
  };
}
