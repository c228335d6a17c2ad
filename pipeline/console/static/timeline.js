// The score of hours, with alerts and a threshold that can be dragged.

import { clock, h, s, score } from "./dom.js";

const WIDTH = 1000;
const HEIGHT = 220;
const LANES = 34; // below the curve: real alerts, and those of the dragged threshold
const PLOT = HEIGHT - LANES;
const STEP = 0.01;

/** A timeline. `onThreshold(value)` is called while the threshold is dragged, and with null when it is put back. */
export class Timeline {
  constructor(onThreshold) {
    this.onThreshold = onThreshold;
    this.svg = s("svg", { class: "timeline", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    this.ticks = h("div", { class: "ticks", "aria-hidden": "true" });
    this.handle = h("div", { class: "handle", role: "slider", tabIndex: 0, "aria-label": "Threshold to try", "aria-valuemin": "0.01", "aria-valuemax": "1", "aria-orientation": "vertical" }, (this.label = h("span")));
    this.present = h("div", { class: "present", "aria-hidden": "true" });
    this.root = h("div", { class: "plot" }, this.svg, this.present, this.handle);
    this.box = h("div", { class: "timebox" }, this.root, this.ticks);
    this.handle.addEventListener("pointerdown", (event) => this.drag(event));
    this.handle.addEventListener("keydown", (event) => this.key(event));
    this.root.addEventListener("pointermove", (event) => this.hover(event));
    this.root.addEventListener("pointerleave", () => (this.tip.hidden = true));
    this.tip = h("div", { class: "tip", hidden: true });
    this.root.append(this.tip);
  }

  /** Draw the answer of /scores. */
  draw(scores) {
    this.scores = scores;
    this.since = new Date(scores.since).getTime() / 1000;
    this.until = new Date(scores.until).getTime() / 1000;
    this.redraw();
    if (this.threshold === undefined || !this.isMoved) this.setThreshold(scores.threshold);
    this.present.hidden = scores.threshold === null;
    this.handle.hidden = scores.threshold === null;
    if (scores.threshold !== null) this.present.style.top = `${this.top(scores.threshold)}%`;
    const marks = 6;
    this.ticks.replaceChildren(
      ...Array.from({ length: marks + 1 }, (_, place) => h("span", null, clock((this.since + ((this.until - this.since) * place) / marks) * 1000, { seconds: false }))),
    );
  }

  redraw() {
    const { times, most, least } = this.scores;
    const y = (value) => PLOT - 4 - value * (PLOT - 8);
    const parts = [];
    for (const level of [0.25, 0.5, 0.75]) parts.push(s("line", { class: "gridline", x1: 0, x2: WIDTH, y1: y(level), y2: y(level) }));
    for (const alert of this.scores.alerts) parts.push(this.bar(alert.started_at, alert.ended_at, PLOT + 4, `alert ${alert.muted ? "muted" : ""}`));
    for (const one of this.wouldBe ?? []) parts.push(this.bar(one.started_at, one.ended_at, PLOT + 19, "would-be"));
    let top = "";
    let bottom = "";
    let before = -Infinity;
    const runs = [];
    const pause = Math.max(30, (4 * (this.until - this.since)) / Math.max(1, times.length));
    times.forEach((time, place) => {
      const x = this.x(time).toFixed(1);
      if (time - before > pause && top) {
        runs.push([top, bottom]);
        top = "";
        bottom = "";
      }
      top += `${top ? "L" : "M"}${x} ${y(most[place]).toFixed(1)}`;
      bottom = `L${x} ${y(least[place]).toFixed(1)}${bottom}`;
      before = time;
    });
    if (top) runs.push([top, bottom]);
    for (const [up, down] of runs) parts.push(s("path", { class: "band", d: `${up}${down}Z` }), s("path", { class: "curve", d: up }));
    this.svg.replaceChildren(...parts);
  }

  /** Show the alerts of a dragged threshold; null: none. */
  showWouldBe(alerts) {
    this.wouldBe = alerts;
    this.redraw();
  }

  setThreshold(value, { isMoved = false } = {}) {
    this.threshold = value;
    this.isMoved = isMoved;
    if (value === null) return;
    this.handle.style.top = `${this.top(value)}%`;
    this.handle.classList.toggle("moved", isMoved);
    this.handle.setAttribute("aria-valuenow", value.toFixed(2));
    this.label.textContent = score(value);
  }

  x(time) {
    return ((time - this.since) / Math.max(1, this.until - this.since)) * WIDTH;
  }

  top(value) {
    return ((PLOT - 4 - value * (PLOT - 8)) / HEIGHT) * 100;
  }

  valueAt(event) {
    const box = this.root.getBoundingClientRect();
    const y = ((event.clientY - box.top) / box.height) * HEIGHT;
    const value = (PLOT - 4 - y) / (PLOT - 8);
    return Math.min(1, Math.max(STEP, Math.round(value / STEP) * STEP));
  }

  bar(start, end, y, kind) {
    const from = this.x(new Date(start).getTime() / 1000);
    const to = end ? this.x(new Date(end).getTime() / 1000) : WIDTH;
    return s("rect", { class: `bar-${kind}`, x: Math.max(0, from), y, width: Math.max(2.5, to - Math.max(0, from)), height: 11 });
  }

  hover(event) {
    if (!this.scores?.times.length) return;
    const box = this.root.getBoundingClientRect();
    const time = this.since + ((event.clientX - box.left) / box.width) * (this.until - this.since);
    let place = this.scores.times.findIndex((one) => one > time);
    place = place < 0 ? this.scores.times.length - 1 : Math.max(0, place - 1);
    this.tip.hidden = false;
    this.tip.textContent = `${clock(this.scores.times[place] * 1000)} · ${score(this.scores.most[place])}`;
    this.tip.style.left = `${Math.min(88, Math.max(0, ((event.clientX - box.left) / box.width) * 100))}%`;
  }

  drag(event) {
    event.preventDefault();
    this.handle.focus();
    this.handle.setPointerCapture(event.pointerId);
    const move = (one) => this.move(this.valueAt(one));
    const end = () => this.handle.removeEventListener("pointermove", move);
    this.handle.addEventListener("pointermove", move);
    this.handle.addEventListener("pointerup", end, { once: true });
    this.handle.addEventListener("pointercancel", end, { once: true });
  }

  key(event) {
    const steps = { ArrowUp: STEP, ArrowRight: STEP, ArrowDown: -STEP, ArrowLeft: -STEP, PageUp: 10 * STEP, PageDown: -10 * STEP };
    if (event.key === "Escape") this.onThreshold(null);
    else if (event.key in steps) this.move(Math.min(1, Math.max(STEP, this.threshold + steps[event.key])));
    else return;
    event.preventDefault();
  }

  move(value) {
    const rounded = Math.round(value * 100) / 100;
    this.setThreshold(rounded, { isMoved: true });
    this.onThreshold(rounded);
  }
}
