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
  let given = false; // or from Python, or another view of the same pad: it is not sent back
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
    if (given) return;
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
    const read = panel.image && probabilities.length > 0;
    // What kept the model from reading, if anything did.
    panel.show(names(), read ? probabilities : null, (panel.image && model.get("said")) || undefined);
  };
  const take = () => {
    if (mine) return;
    clearTimeout(timer); // what was drawn here meanwhile is no longer on the sheet
    timer = 0;
    given = true;
    try {
      panel.pad.strokes = model.get("strokes");
    } catch (error) {
      panel.warn(error.message);
    } finally {
      given = false;
    }
  };
  take();
  show();
  const shown = ["probabilities", "class_names", "said"].map((name) => `change:${name}`);
  for (const change of shown) model.on(change, show);
  model.on("change:strokes", take);
  return () => {
    clearTimeout(timer);
    inside();
    for (const change of shown) model.off(change, show);
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
    const { buffer, byteOffset, byteLength } = model.get("activations");
    const count = shapes.reduce(
      (sum, { channels, height, width }) => sum + channels * height * width, 0);
    if (byteLength !== count) return; // the two belong together, and come together
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
