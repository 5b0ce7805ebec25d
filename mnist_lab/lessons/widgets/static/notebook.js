// The pad in a notebook (anywidget): it draws here, and the model in Python reads.

import { KernelView } from "./kernel.js";
import { Panel } from "./panel.js";
import { LayersView, make } from "./views.js";

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
  const kernel = new KernelView(model.get("kernel"));
  const panel = new Panel(host.attachShadow({ mode: "open" }), (strokes, image, finished) => {
    if (!image) panel.show(names(), null);
    kernel.show(image);
    if (finished) send(strokes);
    else timer ||= setTimeout(() => send(panel.pad.strokes), PAUSE);
  }, { reads: model.get("reads") });
  const inside = model.get("layers") ? showLayers(model, panel) : () => {};
  if (model.get("kernel") || model.get("layers")) {
    panel.below.append(kernel.element);
    panel.pictures.push(kernel);
  }
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
    inside();
    model.off("change:probabilities", show);
    model.off("change:class_names", show);
    model.off("change:strokes", take);
  };
}

/** Show what each layer found, as Python says; returns what stops it. */
function showLayers(model, panel) {
  const element = make("details", { className: "inside", open: true },
    make("summary", {}, "See what each layer found in it"));
  panel.below.append(element);
  const said = model.get("layers_said");
  if (said) element.append(make("p", { className: "advice" }, said));
  let view = null;
  let known = "";
  const show = () => {
    const shapes = model.get("shapes");
    if (shapes.length === 0) return;
    const { buffer, byteOffset } = model.get("activations");
    let start = byteOffset;
    const steps = shapes.map((shape) => {
      const values = new Uint8Array(buffer, start, shape.channels * shape.height * shape.width);
      start += values.length;
      return { ...shape, values };
    });
    if (JSON.stringify(shapes) === known) {
      view.parts.forEach(({ step }, k) => { step.values = steps[k].values; });
      view.paint();
      return;
    }
    known = JSON.stringify(shapes); // the first time, or the model has been changed
    view?.element.remove();
    view = new LayersView({ steps });
    element.append(view.element);
  };
  const picture = { paint: () => view?.paint() };
  panel.pictures.push(picture);
  show();
  model.on("change:activations", show);
  return () => model.off("change:activations", show);
}
