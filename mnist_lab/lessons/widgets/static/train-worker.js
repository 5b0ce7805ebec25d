// What runs in a worker: a training, in slices between which it hears what the page says.

import { Trainer } from "./trainer.js";

const SLICE = 60; // milliseconds; the page draws about 15 times a second

/** Listen to `scope`, the worker's own. Messages: begin, change, pause, resume. */
export function listen(scope) {
  let trainer = null;
  let running = false;
  let waiting = false; // for the next slice
  const goOn = () => {
    waiting = false;
    if (!running) return;
    const report = trainer.advance(SLICE);
    scope.postMessage(report);
    running = !report.isOver;
    schedule();
  };
  const schedule = () => {
    if (!running || waiting) return;
    waiting = true;
    setTimeout(goOn, 0); // so that messages are heard between two slices
  };
  scope.onmessage = ({ data: { kind, settings, train, validation } }) => {
    if (kind === "begin") trainer = new Trainer(settings, train, validation);
    if (kind === "change") trainer.change(settings);
    running = kind === "pause" ? false : running || kind !== "change";
    schedule();
  };
}
