// Hours in which alerts matter: the table of a week, and the panel of a camera's own hours.

import { h } from "./dom.js";

const DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const title = (day) => day[0].toUpperCase() + day.slice(1);

/** Fields for the hours of a week: a time zone, and a row for each day. `of` names them for screen readers. */
export class HoursOfTheWeek {
  constructor(of) {
    this.isTouched = false;
    this.timezone = h("input", { autocomplete: "off", size: 20 });
    this.days = DAYS.map((day) => h("input", { "aria-label": `Hours on ${title(day)}`, placeholder: "none", autocomplete: "off", size: 16 }));
    this.box = h(
      "div",
      { role: "group", "aria-label": of, oninput: () => (this.isTouched = true) },
      h("label", { class: "timezone" }, "Time zone ", this.timezone),
      h(
        "table",
        { class: "plain week" },
        h("caption", { class: "hidden" }, of),
        h("thead", null, h("tr", null, h("th", { scope: "col" }, "day"), h("th", { scope: "col" }, "hours, such as 08:00-18:00, 22:00-06:00"))),
        h("tbody", null, DAYS.map((day, place) => h("tr", null, h("th", { scope: "row" }, title(day)), h("td", null, this.days[place])))),
      ),
    );
  }

  /** Show a schedule of the API, null for none. */
  show(schedule) {
    this.isTouched = false;
    this.timezone.value = schedule?.timezone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
    DAYS.forEach((day, place) => {
      const general = schedule?.[place < 5 ? "weekdays" : "weekend"];
      this.days[place].value = (schedule?.[day] ?? general ?? []).join(", ");
    });
  }

  disable(isDisabled) {
    for (const one of [this.timezone, ...this.days]) one.disabled = isDisabled;
  }

  /** Remove the hours of all days, as a user would. */
  clear() {
    for (const one of this.days) one.value = "";
    this.isTouched = true;
  }

  get isEmpty() {
    return this.days.every((one) => !one.value.trim());
  }

  /** The schedule in the fields, as the API takes it. */
  read() {
    const days = this.days.map((one) => one.value.split(/[,\s]+/).filter(Boolean));
    const schedule = { timezone: this.timezone.value.trim() };
    for (const [name, from, to] of [["weekdays", 0, 5], ["weekend", 5, 7]]) {
      const part = days.slice(from, to);
      if (part.every((one) => one.join() === part[0].join())) schedule[name] = part[0];
      else part.forEach((one, place) => (schedule[DAYS[from + place]] = one));
    }
    return schedule;
  }
}

/** The panel of a camera's hours. `save(schedule)` sends a schedule, null for none. */
export class ScheduleTable {
  constructor(save) {
    this.save = save;
    this.week = new HoursOfTheWeek("Hours of the camera");
    this.problem = h("p", { class: "warn-text", role: "alert" });
    this.note = h("p", { class: "soft" });
    this.buttons = h("div", { class: "buttons" }, h("button", { type: "submit", class: "main" }, "Save hours"), h("button", { type: "button", onclick: () => this.send(null) }, "At all hours"));
    const form = h("form", { onsubmit: (event) => (event.preventDefault(), this.send(this.week.read())) }, this.week.box, this.buttons);
    this.panel = h("section", { class: "panel" }, h("h2", null, "Schedule"), this.note, this.problem, h("details", null, h("summary", null, "Hours of the week"), form));
  }

  /** Take the schedule of the console; what is being typed stays. */
  show(schedule, canChange) {
    this.note.textContent = schedule ? "Alerts outside of these hours are muted." : "Alerts matter at all hours.";
    this.buttons.hidden = !canChange;
    this.week.disable(!canChange);
    if (!this.week.isTouched) this.week.show(schedule);
  }

  async send(schedule) {
    this.problem.textContent = "";
    try {
      await this.save(schedule);
      this.week.isTouched = false;
      this.show(schedule, true);
    } catch (error) {
      this.problem.textContent = error.message;
    }
  }
}
