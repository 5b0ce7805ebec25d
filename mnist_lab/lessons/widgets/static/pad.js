// A sheet to draw on: mouse, pen, finger and keyboard. It knows nothing of digits.
//
// Strokes are kept in shares of the sheet's side, from 0 to 1, so that the sheet may change its size
// at any time. What is drawn last can be undone; every change of the strokes is a new array.

const CLOSEST = 0.004; // points nearer to each other than this share of the sheet are one
const PEN = 0.045; // width of the line, as a share of the sheet
const ERASER = 0.05; // radius
const STEP = 0.04; // how far an arrow key moves the pen; a quarter of it with Shift
const MOST_POINTS = 4_000; // of a whole drawing; a digit has about a hundred
const MOST_UNDONE = 100;

const KEYS = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
  Home: [-1, -1], PageUp: [1, -1], End: [-1, 1], PageDown: [1, 1], // as on a block of digits
};

const clamp = (value) => Math.min(1, Math.max(0, value));

/** Round off the corners that a hand does not mean: each point moves towards its neighbours. */
export function smooth(points) {
  let line = points;
  for (let pass = 0; pass < 2; pass += 1) {
    const before = line;
    line = before.map((point, k) => {
      if (k === 0 || k === before.length - 1) return point;
      const [one, other] = [before[k - 1], before[k + 1]];
      return point.map((value, axis) => (one[axis] + 2 * value + other[axis]) / 4);
    });
  }
  return line;
}

/** Points along the line from one to another, at most `gap` apart; the first is left out. */
export function between(one, other, gap) {
  const parts = Math.max(1, Math.ceil(Math.hypot(other[0] - one[0], other[1] - one[1]) / gap));
  return Array.from({ length: parts }, (_, k) =>
    one.map((value, axis) => value + ((other[axis] - value) * (k + 1)) / parts));
}

/** Take away what lies within the radius; what is left of a stroke may be two strokes. */
export function erase(strokes, [x, y], radius) {
  const isNear = (point) => Math.hypot(point[0] - x, point[1] - y) <= radius;
  return strokes.flatMap((stroke) => {
    // A quick hand leaves its points far apart, so the line between them is looked at too.
    const dense = stroke.flatMap((point, k) =>
      k === 0 ? [point] : between(stroke[k - 1], point, radius / 4));
    if (!dense.some(isNear)) return [stroke];
    const kept = [[]];
    for (const point of dense) {
      if (!isNear(point)) kept.at(-1).push(point);
      else if (kept.at(-1).length > 0) kept.push([]);
    }
    return kept.filter((run) => run.length > 0);
  });
}

export class Pad {
  /**
   * Draw on `canvas`. `onChange(finished)` is called when the strokes have changed, at most once a
   * frame while a stroke grows, and with true when it has ended; `say(words)` when the keyboard's
   * pen has been put down or lifted, or a tool chosen.
   */
  constructor(canvas, { onChange = () => {}, say = () => {}, onTool = () => {} } = {}) {
    this.canvas = canvas;
    this.onChange = onChange;
    this.onTool = onTool;
    this.say = say;
    this.tool = "pen";
    this.raw = []; // strokes of [x, y, pressure]
    this.past = []; // earlier arrays of strokes
    this.pointer = null; // id of the pointer that draws
    this.last = null; // where it was
    this.penSeen = false;
    this.cursor = null; // where the keyboard's pen is
    this.penDown = false;
    this.held = new Set();
    this.frame = 0;
    this.changed = false;
    this.listen();
    this.resize();
  }

  /** The strokes as they look: points [x, y] in shares of the sheet. */
  get strokes() {
    return this.raw.map((stroke) => smooth(stroke).map(([x, y]) => [x, y]));
  }

  set strokes(strokes) {
    this.remember();
    this.raw = strokes.map((stroke) => stroke.map(([x, y]) => [x, y, 0.5]));
    this.lift();
    this.change(true);
  }

  get canUndo() {
    return this.past.length > 0;
  }

  undo() {
    if (!this.canUndo) return;
    this.lift();
    this.raw = this.past.pop();
    this.change(true);
  }

  clear() {
    if (this.raw.length === 0) return;
    this.remember();
    this.lift();
    this.raw = [];
    this.change(true);
  }

  useTool(tool) {
    this.tool = tool;
    this.lift();
    this.canvas.dataset.tool = tool;
    this.onTool(tool);
    this.redraw();
  }

  // --- Strokes ------------------------------------------------------------------------------------

  remember() {
    this.past.push(this.raw);
    if (this.past.length > MOST_UNDONE) this.past.shift();
  }

  /** End whatever is being drawn. */
  lift() {
    this.pointer = null;
    this.penDown = false;
  }

  begin(point) {
    this.remember();
    this.last = point;
    if (this.tool === "eraser") this.raw = erase(this.raw, point, ERASER);
    else this.raw = [...this.raw, [point]];
    this.change(false);
  }

  extend(point) {
    if (this.tool === "eraser") {
      for (const place of between(this.last, point, ERASER / 2)) {
        this.raw = erase(this.raw, place, ERASER);
      }
      this.last = point;
      this.change(false);
      return;
    }
    const stroke = this.raw.at(-1);
    const last = stroke?.at(-1);
    if (!last) return;
    if (Math.hypot(point[0] - last[0], point[1] - last[1]) < CLOSEST) return;
    if (this.raw.reduce((sum, line) => sum + line.length, 0) >= MOST_POINTS) return;
    this.raw = [...this.raw.slice(0, -1), [...stroke, point]];
    this.change(false);
  }

  change(finished) {
    this.changed = true;
    if (finished) {
      this.changed = false;
      this.onChange(true);
    }
    this.redraw();
  }

  // --- Events -------------------------------------------------------------------------------------

  listen() {
    const { canvas } = this;
    const on = (name, act, options) => canvas.addEventListener(name, act.bind(this), options);
    on("pointerdown", this.pointerDown);
    on("pointermove", this.pointerMove);
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) on(name, this.pointerUp);
    // touch-action: none keeps the page still; browsers that do not know it heed this instead.
    on("touchstart", (event) => event.preventDefault(), { passive: false });
    on("touchmove", (event) => event.preventDefault(), { passive: false });
    on("contextmenu", (event) => event.preventDefault());
    on("keydown", this.keyDown);
    on("keyup", (event) => this.held.delete(event.key));
    on("blur", this.leave);
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  /** Where an event is on the sheet, or null for one that is nowhere. */
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width;
    const y = (event.clientY - box.top) / box.height;
    // A mouse and most fingers report half or no pressure; only a pen's is heeded.
    const pressure = event.pointerType === "pen" ? event.pressure : 0.5;
    return Number.isFinite(x) && Number.isFinite(y) ? [clamp(x), clamp(y), pressure] : null;
  }

  pointerDown(event) {
    if (this.pointer !== null || event.button !== 0) return;
    if (event.pointerType === "touch" && this.penSeen) return; // a palm beside the pen
    this.penSeen ||= event.pointerType === "pen";
    const point = this.place(event);
    if (!point) return;
    event.preventDefault(); // no selection of text, no menu
    this.canvas.dataset.by = "pointer"; // which needs no frame to say where the keys go
    this.canvas.focus({ preventScroll: true });
    this.cursor = null;
    this.penDown = false;
    this.pointer = event.pointerId;
    try {
      this.canvas.setPointerCapture(event.pointerId);
    } catch {
      // The pointer has gone already; its strokes end at the edge.
    }
    this.begin(point);
  }

  pointerMove(event) {
    if (event.pointerId !== this.pointer) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length > 0 ? events : [event]) {
      const point = this.place(each);
      if (point) this.extend(point);
    }
  }

  pointerUp(event) {
    if (event.pointerId !== this.pointer) return;
    this.pointer = null;
    this.change(true);
  }

  keyDown(event) {
    if (event.altKey || (event.key.length > 1 && (event.ctrlKey || event.metaKey))) return;
    delete this.canvas.dataset.by;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const undoes = key === "z" && (event.ctrlKey || event.metaKey);
    if ((event.ctrlKey || event.metaKey) && !undoes) return;
    const actions = {
      " ": () => this.toggle(), Enter: () => this.toggle(),
      u: () => this.undo(), z: () => this.undo(), Backspace: () => this.undo(),
      c: () => this.clear(), Delete: () => this.clear(),
      e: () => this.useTool(this.tool === "eraser" ? "pen" : "eraser"),
    };
    if (Object.hasOwn(KEYS, key)) {
      this.held.add(key);
      this.travel(event.shiftKey ? STEP / 4 : STEP);
    } else if (Object.hasOwn(actions, key)) {
      actions[key]();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  /** Put the keyboard's pen down, or lift it. */
  toggle() {
    if (this.pointer !== null) return;
    this.cursor ??= [0.5, 0.5];
    const down = !this.penDown;
    if (down) {
      this.begin([...this.cursor, 0.5]);
    } else {
      this.change(true);
    }
    this.penDown = down;
    const tool = this.tool === "eraser" ? "Eraser" : "Pen";
    this.say(down ? `${tool} down.` : `${tool} lifted.`);
    this.redraw();
  }

  /** Move the keyboard's pen the way that the held keys say. */
  travel(step) {
    if (this.pointer !== null) return;
    const [x, y] = this.cursor ?? [0.5, 0.5];
    const ways = [...this.held].map((key) => KEYS[key]);
    const sum = (axis) => Math.sign(ways.reduce((total, way) => total + way[axis], 0));
    this.cursor = [clamp(x + sum(0) * step), clamp(y + sum(1) * step)];
    if (this.penDown) this.extend([...this.cursor, 0.5]);
    this.redraw();
  }

  leave() {
    this.held.clear();
    delete this.canvas.dataset.by;
    if (this.penDown) {
      this.penDown = false;
      this.change(true);
    }
    this.cursor = null;
    this.redraw();
  }

  // --- What is to be seen -------------------------------------------------------------------------

  resize() {
    const { canvas } = this;
    const side = Math.round(canvas.clientWidth * Math.min(3, window.devicePixelRatio || 1)) || 1;
    if (canvas.width === side && canvas.height === side) return;
    canvas.width = side;
    canvas.height = side;
    this.redraw();
  }

  /** Draw everything anew with the next frame. */
  redraw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
      if (this.changed) {
        this.changed = false;
        this.onChange(false);
      }
    });
  }

  paint() {
    const { canvas } = this;
    const context = canvas.getContext("2d");
    const side = canvas.width;
    context.clearRect(0, 0, side, side);
    // The style sheet says which colour the ink has, by day, by night and in high contrast.
    const colour = getComputedStyle(canvas).color;
    Object.assign(context, { strokeStyle: colour, fillStyle: colour, lineCap: "round" });
    context.lineJoin = "round";
    for (const stroke of this.raw) paintStroke(context, smooth(stroke), side);
    if (this.cursor) paintCursor(context, this.cursor, side, this.penDown);
  }
}

/** A line curved through the middles between its points; a pen's pressure makes it wider. */
function paintStroke(context, points, side) {
  const at = (k) => [points[k][0] * side, points[k][1] * side];
  const width = (k) => PEN * side * (0.6 + 0.8 * points[k][2]);
  const last = points.length - 1;
  if (last === 0) {
    context.beginPath();
    context.arc(...at(0), width(0) / 2, 0, 2 * Math.PI);
    context.fill();
    return;
  }
  const even = points.every((point) => point[2] === points[0][2]);
  context.lineWidth = width(0);
  context.beginPath();
  context.moveTo(...at(0));
  for (let k = 1; k <= last; k += 1) {
    const [one, other] = [at(k), at(Math.min(k + 1, last))];
    const middle = [(one[0] + other[0]) / 2, (one[1] + other[1]) / 2];
    context.quadraticCurveTo(...one, ...middle);
    if (even) continue;
    context.lineWidth = width(k);
    context.stroke();
    context.beginPath();
    context.moveTo(...middle);
  }
  if (even) context.stroke();
}

/** The keyboard's pen: a cross in a circle, filled while it is on the paper. */
function paintCursor(context, [x, y], side, down) {
  const [radius, arm] = [side * 0.022, side * 0.04];
  context.lineWidth = Math.max(1.5, side * 0.006);
  context.beginPath();
  context.arc(x * side, y * side, radius, 0, 2 * Math.PI);
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    context.moveTo(x * side + dx * radius, y * side + dy * radius);
    context.lineTo(x * side + dx * arm, y * side + dy * arm);
  }
  context.stroke();
  if (down) context.fill();
}
