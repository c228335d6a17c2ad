// The hours in which the alerts of a camera matter, as a table of the week.

import { h } from "./dom.js";

const DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const title = (day) => day[0].toUpperCase() + day.slice(1);

/** The table. `save(schedule)` sends a schedule, null for none. */
export class ScheduleTable {
  constructor(save) {
    this.save = save;
    this.isTouched = false;
    this.zone = h("input", { autocomplete: "off", size: 20 });
    this.hours = DAYS.map((day) => h("input", { "aria-label": `Hours on ${title(day)}`, placeholder: "none", size: 16 }));
    this.problem = h("p", { class: "warn-text", role: "alert" });
    this.note = h("p", { class: "soft" });
    this.buttons = h("div", { class: "buttons" }, h("button", { type: "submit", class: "main" }, "Save hours"), h("button", { type: "button", onclick: () => this.send(null) }, "At all hours"));
    this.form = h(
      "form",
      { oninput: () => (this.isTouched = true), onsubmit: (event) => (event.preventDefault(), this.send(this.read())) },
      h("label", null, "Time zone ", this.zone),
      h(
        "table",
        { class: "plain week" },
        h("caption", { class: "hidden" }, "Hours of the week"),
        h("thead", null, h("tr", null, h("th", { scope: "col" }, "day"), h("th", { scope: "col" }, "hours, such as 08:00-18:00, 22:00-06:00"))),
        h("tbody", null, DAYS.map((day, place) => h("tr", null, h("th", { scope: "row" }, title(day)), h("td", null, this.hours[place])))),
      ),
      this.buttons,
    );
    this.panel = h("section", { class: "panel" }, h("h2", null, "Schedule"), this.note, this.problem, h("details", null, h("summary", null, "Hours of the week"), this.form));
  }

  /** Take the schedule of the console; what is being typed stays. */
  show(schedule, canChange) {
    this.note.textContent = schedule ? "Alerts outside of these hours are muted." : "Alerts matter at all hours.";
    this.buttons.hidden = !canChange;
    for (const one of [this.zone, ...this.hours]) one.disabled = !canChange;
    if (this.isTouched) return;
    this.zone.value = schedule?.timezone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
    DAYS.forEach((day, place) => {
      const general = schedule?.[place < 5 ? "weekdays" : "weekend"];
      this.hours[place].value = (schedule?.[day] ?? general ?? []).join(", ");
    });
  }

  read() {
    const days = this.hours.map((one) => one.value.split(/[,\s]+/).filter(Boolean));
    const schedule = { timezone: this.zone.value.trim() };
    for (const [name, from, to] of [["weekdays", 0, 5], ["weekend", 5, 7]]) {
      const part = days.slice(from, to);
      if (part.every((one) => one.join() === part[0].join())) schedule[name] = part[0];
      else part.forEach((one, place) => (schedule[DAYS[from + place]] = one));
    }
    return schedule;
  }

  async send(schedule) {
    this.problem.textContent = "";
    try {
      await this.save(schedule);
      this.isTouched = false;
      this.show(schedule, true);
    } catch (error) {
      this.problem.textContent = error.message;
    }
  }
}
