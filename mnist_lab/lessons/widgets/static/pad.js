// A sheet to draw on: mouse, pen, finger and keyboard. It knows nothing of digits.
//
// Strokes are kept in shares of the sheet's side, from 0 to 1, so that the sheet may change its size
// at any time. What a hand draws is smoothed once, when its stroke ends; strokes that are given to the
// sheet stay as they are. What is drawn last can be undone; every change of the strokes is a new array.

const CLOSEST = 0.004; // points nearer to each other than this share of the sheet are one
const PEN = 0.045; // width of the line, as a share of the sheet
const ERASER = 0.05; // radius
const STEP = 0.04; // how far an arrow key moves the pen; a quarter of it with Shift
const REACH = 0.02; // how far the line is averaged, to both sides of a point, to smooth it
const BEND = 0.05; // how far from a corner the line that is shown leaves it
const FARTHEST = 100; // a point that lies farther away was never drawn (digit_pad.py has the same)
const MOST_UNDONE = 100;

/** Points of a whole drawing, at most; a digit has about a hundred (digit_pad.py has the same). */
export const MOST_POINTS = 4_000;

const KEYS = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
  Home: [-1, -1], PageUp: [1, -1], End: [-1, 1], PageDown: [1, 1], // as on a block of digits
};

const clamp = (value) => Math.min(1, Math.max(0, value));

/**
 * Round off the corners that a hand does not mean: each point becomes the mean of the line round it.
 *
 * It is the line that is averaged, over the same length on both sides, and not the points beside a
 * point: how many of them a hand reports makes no difference. Both ends stay.
 */
export function smooth(points) {
  const places = [0]; // how far along the line each point lies
  const sums = [[0, 0, 0]]; // the integral of the line up to there
  for (let k = 1; k < points.length; k += 1) {
    const [one, other] = [points[k - 1], points[k]];
    const step = distanceOf(one, other);
    places.push(places[k - 1] + step);
    sums.push(one.map((value, axis) => sums[k - 1][axis] + (step * (value + other[axis])) / 2));
  }
  const sumTo = (place) => {
    let [low, high] = [0, points.length - 1];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (places[middle] < place) low = middle;
      else high = middle;
    }
    const past = place - places[low];
    const there = goTowards(points[low], points[high], past / (places[high] - places[low] || 1));
    return there.map((value, axis) => sums[low][axis] + (past * (points[low][axis] + value)) / 2);
  };
  return points.map((point, k) => {
    const reach = Math.min(REACH, places[k], places.at(-1) - places[k]);
    if (reach < CLOSEST / 2) return point; // an end, or on top of one
    const [before, after] = [sumTo(places[k] - reach), sumTo(places[k] + reach)];
    return before.map((sum, axis) => (after[axis] - sum) / (2 * reach));
  });
}

const distanceOf = (one, other) => Math.hypot(other[0] - one[0], other[1] - one[1]);

/** The point that lies a share of the way from one to another. */
const goTowards = (one, other, share) =>
  one.map((value, axis) => value + (other[axis] - value) * share);

/** Points along the line from one to another, at most `gap` apart; the first is left out. */
export function between(one, other, gap) {
  const parts = Math.max(1, Math.ceil(distanceOf(one, other) / gap));
  return Array.from({ length: parts }, (_, k) => goTowards(one, other, (k + 1) / parts));
}

/** Take away what lies within the radius; what is left of a stroke may be two strokes. */
export function erase(strokes, centre, radius) {
  const isNear = (point) => distanceOf(point, centre) <= radius;
  return strokes.flatMap((stroke) => {
    // A quick hand leaves its points far apart, so the line between them is looked at too.
    const dense = stroke.flatMap((point, k) => {
      const before = stroke[k - 1];
      return k > 0 && passesBy(before, point, centre, radius)
        ? between(before, point, radius / 4) : [point];
    });
    if (!dense.some(isNear)) return [stroke];
    const kept = [[]];
    for (const point of dense) {
      if (!isNear(point)) kept.at(-1).push(point);
      else if (kept.at(-1).length > 0) kept.push([]);
    }
    return kept.filter((run) => run.length > 0);
  });
}

/** Whether the line from one point to another comes as close to a third as `radius`. */
function passesBy(one, other, [x, y], radius) {
  const [across, down] = [other[0] - one[0], other[1] - one[1]];
  const share = ((x - one[0]) * across + (y - one[1]) * down) / (across * across + down * down || 1);
  return distanceOf(goTowards(one, other, clamp(share)), [x, y]) <= radius;
}

/** Throw a TypeError with one sentence unless the value is a list of strokes. */
function checkStrokes(value) {
  const isPoint = (point) => Array.isArray(point) && point.length === 2 &&
    point.every((number) => typeof number === "number" && Math.abs(number) <= FARTHEST); // nor NaN
  const isStroke = (stroke) => Array.isArray(stroke) && stroke.every(isPoint);
  if (Array.isArray(value) && value.every(isStroke)) return;
  throw new TypeError("Strokes are lists of points [x, y], two numbers between 0 and 1 " +
    `(and never beyond ${FARTHEST}).`);
}

const countPoints = (strokes) => strokes.reduce((sum, stroke) => sum + stroke.length, 0);

/** As many strokes, the last of them cut, as a drawing may have points. */
function cutFlood(strokes) {
  if (countPoints(strokes) <= MOST_POINTS) return strokes;
  let room = MOST_POINTS;
  return strokes.flatMap((stroke) => {
    const kept = stroke.slice(0, room);
    room -= kept.length;
    return kept.length > 0 ? [kept] : [];
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
    this.lines = []; // strokes of [x, y, pressure], as they look
    this.growing = null; // the points of the stroke that is being drawn, as the hand reports them
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

  /** All strokes as they look, also the one that is being drawn: points [x, y, pressure]. */
  get drawn() {
    return this.growing ? [...this.lines, smooth(this.growing)] : this.lines;
  }

  /** The strokes as points [x, y] in shares of the sheet. What is given is not smoothed, and comes
   * back as it was; what is no list of strokes is a TypeError, and changes nothing. */
  get strokes() {
    return this.drawn.map((stroke) => stroke.map(([x, y]) => [x, y]));
  }

  set strokes(strokes) {
    checkStrokes(strokes);
    const given = cutFlood(strokes);
    // What is there already keeps its pressure, and is nothing to be undone.
    if (JSON.stringify(given) === JSON.stringify(this.strokes)) return;
    this.lift();
    this.put(given.map((stroke) => stroke.map(([x, y]) => [x, y, 0.5])));
    this.change(true);
  }

  get isEmpty() {
    return this.countPoints() === 0;
  }

  get isFull() {
    return this.countPoints() >= MOST_POINTS;
  }

  countPoints() {
    return countPoints(this.lines) + (this.growing?.length ?? 0);
  }

  get canUndo() {
    return this.past.length > 0;
  }

  undo() {
    this.lift();
    if (!this.canUndo) return;
    this.lines = this.past.pop();
    this.change(true);
  }

  clear() {
    this.lift();
    if (this.isEmpty) return;
    this.put([]);
    this.change(true);
  }

  useTool(tool) {
    const drawing = this.pointer !== null || this.penDown;
    this.lift();
    this.tool = tool;
    this.canvas.dataset.tool = tool;
    this.onTool(tool);
    if (drawing) this.change(true);
    else this.redraw();
  }

  // --- Strokes ------------------------------------------------------------------------------------

  /** Lay other strokes on the sheet; undo brings back those that were there. */
  put(lines) {
    this.past.push(this.lines);
    if (this.past.length > MOST_UNDONE) this.past.shift();
    this.lines = lines;
  }

  /** End whatever is being drawn. */
  lift() {
    if (this.growing) this.lines = [...this.lines, smooth(this.growing)];
    this.growing = null;
    this.pointer = null;
    this.penDown = false;
  }

  begin(point) {
    this.last = point;
    if (this.tool === "eraser") {
      this.put(this.lines);
      this.rub(point);
    } else if (!this.isFull) {
      this.put(this.lines);
      this.growing = [point];
    }
    this.change(false);
  }

  extend(point) {
    if (this.tool === "eraser") {
      for (const place of between(this.last, point, ERASER / 2)) this.rub(place);
      this.last = point;
    } else {
      if (!this.growing || this.isFull) return;
      if (distanceOf(point, this.growing.at(-1)) < CLOSEST) return;
      this.growing.push(point);
    }
    this.change(false);
  }

  /** Erase at a place. */
  rub(place) {
    this.lines = cutFlood(erase(this.lines, place, ERASER));
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
    this.lift(); // the keyboard's pen may be down
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
    this.lift();
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
      this.penDown = true;
      this.begin([...this.cursor, 0.5]);
    } else {
      this.lift();
      this.change(true);
    }
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
      this.lift();
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
    for (const stroke of this.drawn) paintStroke(context, stroke, side);
    if (this.cursor) paintCursor(context, this.cursor, side, this.penDown);
  }
}

/** A line that rounds its corners a little; a pen's pressure makes it wider. */
function paintStroke(context, points, side) {
  if (points.length === 0) return;
  const at = (point) => [point[0] * side, point[1] * side];
  const width = (point) => PEN * side * (0.6 + 0.8 * point[2]);
  const last = points.length - 1;
  if (last === 0) {
    context.beginPath();
    context.arc(...at(points[0]), width(points[0]) / 2, 0, 2 * Math.PI);
    context.fill();
    return;
  }
  // Where a curve round a corner begins and ends: half way to the next point, but no farther away.
  const near = (corner, next) =>
    goTowards(corner, next, Math.min(0.5, BEND / (distanceOf(corner, next) || 1)));
  const even = points.every((point) => point[2] === points[0][2]);
  context.lineWidth = width(points[0]);
  context.beginPath();
  context.moveTo(...at(points[0]));
  for (let k = 1; k <= last; k += 1) {
    const point = points[k];
    const end = k === last ? point : near(point, points[k + 1]);
    context.lineTo(...at(near(point, points[k - 1])));
    context.quadraticCurveTo(...at(point), ...at(end));
    if (even) continue;
    context.lineWidth = width(point);
    context.stroke();
    context.beginPath();
    context.moveTo(...at(end));
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
