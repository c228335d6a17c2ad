// Zones of a camera, drawn and edited on its picture. Corners are shares of the picture, so its size does not matter.

import { chip, h, many, s } from "./dom.js";
import { HoursOfTheWeek } from "./schedule.js";

const STEP = 0.01;
const percent = (value) => `${Math.round(value * 100)} %`;
const share = (value) => Math.min(1, Math.max(0, Math.round(value * 10000) / 10000));

/** The zones over a picture's box, and their list. `save(zones)` sends zones by name, null for one that goes. */
export class ZoneEditor {
  constructor(box, save) {
    this.box = box;
    this.save = save;
    this.zones = {};
    this.editing = null; // {before, name, zone: {points, ignore, …}}
    this.canChange = false;
    this.svg = s("svg", { class: "zones", viewBox: "0 0 1000 1000", preserveAspectRatio: "none", "aria-hidden": "true" });
    this.corners = h("div", { class: "corners" });
    this.problem = h("p", { class: "warn-text", role: "alert" });
    this.list = h("div", { class: "zonelist" });
    this.panel = h("section", { class: "panel" }, h("h2", null, "Zones"), this.list);
    box.append(this.svg, this.corners);
    this.corners.addEventListener("pointerdown", (event) => event.target === this.corners && this.addAt(event));
  }

  /** Take the zones of the console; what is being edited stays. */
  show(zones, canChange) {
    this.zones = zones;
    this.canChange = canChange;
    if (this.editing) this.draw();
    else this.redraw();
  }

  redraw() {
    this.draw();
    this.box.classList.toggle("editing", this.editing !== null);
    this.list.replaceChildren(...(this.editing ? [this.form()] : [this.rows(), this.problem]));
  }

  draw() {
    const shown = { ...this.zones };
    if (this.editing?.before) delete shown[this.editing.before];
    const polygon = (zone, kind) => s("polygon", { class: `${kind} ${zone.ignore ? "ignore" : ""}`, points: zone.points.map(([x, y]) => `${x * 1000},${y * 1000}`).join(" ") });
    const parts = Object.values(shown).map((zone) => polygon(zone, "zone"));
    if (this.editing) parts.push(polygon(this.editing.zone, "zone drawn"));
    this.svg.replaceChildren(...parts);
    if (this.editing) this.drawCorners();
    else this.corners.replaceChildren();
  }

  drawCorners() {
    const { points } = this.editing.zone;
    while (this.corners.childElementCount > points.length) this.corners.lastChild.remove();
    while (this.corners.childElementCount < points.length) this.corners.append(this.corner(this.corners.childElementCount));
    points.forEach(([x, y], place) => {
      const one = this.corners.children[place];
      one.style.left = `${x * 100}%`;
      one.style.top = `${y * 100}%`;
      one.setAttribute("aria-label", `Point ${place + 1} of ${points.length}: ${percent(x)} from the left, ${percent(y)} from the top. Arrow keys move it, Delete removes it.`);
    });
  }

  corner(place) {
    const one = h("button", { type: "button", class: "corner" });
    one.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      one.focus();
      one.setPointerCapture(event.pointerId);
      const move = (to) => this.move(place, ...this.shareOf(to));
      one.addEventListener("pointermove", move);
      const end = () => one.removeEventListener("pointermove", move);
      one.addEventListener("pointerup", end, { once: true });
      one.addEventListener("pointercancel", end, { once: true });
    });
    one.addEventListener("keydown", (event) => this.key(event, place));
    return one;
  }

  key(event, place) {
    const step = event.shiftKey ? 5 * STEP : STEP;
    const steps = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const [x, y] = this.editing.zone.points[place];
    if (event.key in steps) this.move(place, x + steps[event.key][0], y + steps[event.key][1]);
    else if (event.key === "Delete" || event.key === "Backspace") this.remove(place);
    else if (event.key === "Escape") this.cancel();
    else return;
    event.preventDefault();
  }

  shareOf(event) {
    const box = this.corners.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  move(place, x, y) {
    this.editing.zone.points[place] = [share(x), share(y)];
    this.draw();
  }

  addAt(event) {
    event.preventDefault();
    this.add(...this.shareOf(event));
    setTimeout(() => this.corners.lastChild?.focus()); // the press itself takes the focus away
  }

  /** Add a point at a place; without one, between the last and the first. */
  add(x, y) {
    const { points } = this.editing.zone;
    if (x === undefined) {
      const start = [[0.25, 0.25], [0.75, 0.25], [0.75, 0.75]][points.length];
      [x, y] = start ?? [0, 1].map((axis) => (points[0][axis] + points.at(-1)[axis]) / 2);
    }
    points.push([share(x), share(y)]);
    this.draw();
    this.count.textContent = many(points.length, "point");
    this.corners.lastChild.focus();
  }

  remove(place) {
    this.editing.zone.points.splice(place, 1);
    this.draw();
    this.count.textContent = many(this.editing.zone.points.length, "point");
    this.corners.children[Math.max(0, place - 1)]?.focus();
  }

  edit(name) {
    const zone = name ? this.zones[name] : { ignore: false, points: [] };
    this.editing = { before: name, name: name ?? "", zone: { ...zone, points: zone.points.map((one) => [...one]) } };
    this.problem.textContent = "";
    this.redraw();
    this.list.querySelector("input").focus();
  }

  cancel() {
    this.editing = null;
    this.problem.textContent = "";
    this.redraw();
  }

  async send(zones) {
    this.problem.textContent = "";
    try {
      await this.save(zones);
      this.editing = null;
      this.zones = Object.fromEntries(Object.entries({ ...this.zones, ...zones }).filter(([, zone]) => zone));
      this.redraw();
    } catch (error) {
      this.problem.textContent = error.message;
    }
  }

  form() {
    const { zone, before } = this.editing;
    const name = h("input", { value: this.editing.name, required: true, maxLength: 60, autocomplete: "off", oninput: () => (this.editing.name = name.value) });
    const hours = new ZoneHours(zone.schedule);
    const take = () => {
      zone.ignore = ignore.checked;
      hours.box.hidden = zone.ignore;
      this.draw();
    };
    const ignore = h("input", { type: "checkbox", checked: zone.ignore, onchange: take });
    hours.box.hidden = zone.ignore;
    this.count = h("span", { class: "soft", role: "status" }, many(zone.points.length, "point"));
    const submit = (event) => {
      event.preventDefault();
      const schedule = zone.ignore ? null : hours.read();
      const wanted = { points: zone.points, ignore: zone.ignore, ...(schedule ? { schedule } : {}) };
      const named = this.editing.name.trim();
      this.send({ ...(before && before !== named ? { [before]: null } : {}), [named]: wanted });
    };
    return h(
      "form",
      { onsubmit: submit },
      h("div", { class: "bar" }, h("label", null, "Name ", name), h("label", { class: "check" }, ignore, "ignore what moves in it"), h("button", { type: "button", onclick: () => this.add() }, "Add point"), this.count),
      h("p", { class: "soft" }, "Click or tap on the picture to add points, in order around the zone. Drag them, or move them with the arrow keys; Delete removes one."),
      hours.box,
      this.problem,
      h("div", { class: "buttons" }, h("button", { type: "submit", class: "main" }, "Save zone"), h("button", { type: "button", onclick: () => this.cancel() }, "Cancel")),
    );
  }

  rows() {
    const names = Object.keys(this.zones);
    return h(
      "div",
      null,
      names.length ? "" : h("p", { class: "soft" }, "No zones: the whole picture is watched."),
      names.map((name) =>
        h("div", { class: "bar zonerow", data: { zone: name } }, h("b", null, name), this.zones[name].ignore ? chip("ignored") : "", this.zones[name].schedule ? chip("hours") : "", h("span", { class: "grow" }), this.canChange ? [h("button", { type: "button", "aria-label": `Edit zone ${name}`, onclick: () => this.edit(name) }, "Edit"), h("button", { type: "button", "aria-label": `Delete zone ${name}`, onclick: () => this.send({ [name]: null }) }, "Delete")] : ""),
      ),
      this.canChange ? h("button", { type: "button", class: "draw", onclick: () => this.edit(null) }, "Draw a zone") : "",
    );
  }
}

/** The hours of one zone in its form. A schedule that is not touched stays word for word. */
class ZoneHours {
  constructor(schedule) {
    this.schedule = schedule ?? null;
    this.week = new HoursOfTheWeek("Hours of the zone");
    this.week.show(this.schedule);
    this.state = h("span");
    this.box = h(
      "details",
      { class: "hours", open: this.schedule !== null, oninput: () => this.describe() },
      h("summary", null, "Hours: ", this.state),
      h("p", { class: "soft" }, "Without hours the zone mutes no alert. With hours, an alert is muted while all of its zones are outside of theirs. The camera's own hours apply as well."),
      this.week.box,
      h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => (this.week.clear(), this.describe()) }, "No hours")),
    );
    this.describe();
  }

  describe() {
    this.state.textContent = this.week.isEmpty ? "none" : "set";
  }

  /** The schedule to send, null for none. */
  read() {
    if (!this.week.isTouched) return this.schedule;
    return this.week.isEmpty ? null : this.week.read();
  }
}
