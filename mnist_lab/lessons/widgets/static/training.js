// Run a training beside the page: in a worker where the browser allows one, in the page where not.
//
//   const training = new Training(settings, digits, (report) => ...);
//   training.pause(); training.resume(); training.change({ rate: 0.001 }); training.stop();

import { Trainer } from "./trainer.js";
import workerText from "./train-worker.js";

const SLICE = 10; // milliseconds of a frame, where there is no worker

export class Training {
  /** digits is { train, validation }; report(...) is called with what trainer.js reports. */
  constructor(settings, digits, report) {
    Object.assign(this, { settings: { ...settings }, digits, report });
    this.isRunning = true;
    this.isOver = false;
    // A page that is opened from disk may load no file into a worker, but a text of its own it may.
    this.address = URL.createObjectURL(new Blob([workerText], { type: "text/javascript" }));
    try {
      this.worker = new Worker(this.address);
      this.worker.onmessage = ({ data }) => this.tell(data);
      // A browser may also refuse it later, with an event: then the training begins here instead.
      this.worker.onerror = () => { if (!this.isOver) this.runHere(); };
      this.worker.postMessage({ kind: "begin", settings, ...digits });
    } catch {
      this.runHere();
    }
  }

  runHere() {
    this.worker?.terminate();
    this.worker = null;
    const trainer = new Trainer(this.settings, this.digits.train, this.digits.validation);
    const goOn = () => {
      if (this.isRunning) this.tell(trainer.advance(SLICE));
      if (this.isRunning) this.timer = setTimeout(goOn, 0);
    };
    this.send = ({ kind, settings }) => {
      if (kind === "change") trainer.change(settings);
      clearTimeout(this.timer);
      this.timer = setTimeout(goOn, 0);
    };
    this.send({ kind: "resume" });
  }

  send(message) {
    this.worker.postMessage(message);
  }

  tell(report) {
    if (this.isOver) return; // it was stopped while this was on its way
    if (report.isOver) this.stop();
    this.report(report);
  }

  pause() {
    if (this.isOver) return;
    this.isRunning = false;
    this.send({ kind: "pause" });
  }

  resume() {
    if (this.isOver) return;
    this.isRunning = true;
    this.send({ kind: "resume" });
  }

  change(settings) {
    Object.assign(this.settings, settings);
    if (!this.isOver) this.send({ kind: "change", settings });
  }

  /** Leave nothing running. */
  stop() {
    this.isOver = true;
    this.isRunning = false;
    clearTimeout(this.timer);
    this.worker?.terminate();
    this.worker = null;
    URL.revokeObjectURL(this.address);
  }
}
