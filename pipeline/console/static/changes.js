// Changes of a camera: zones, schedule, thresholds; and the last change, with its author.

import { ago, chip, clock, h } from "./dom.js";
import { get, send } from "./link.js";
import { ScheduleTable } from "./schedule.js";
import { ZoneEditor } from "./zones.js";

const STATES = { in_force: ["in force", "ok"], pending: ["not in force yet", "warn"], refused: ["refused", "bad"], unknown: ["sent", ""] };
const shown = (value) => {
  if (value === null || value === undefined) return "default";
  if (typeof value !== "object") return String(value);
  const hours = (schedule) => `hours (${schedule.timezone})`;
  if (value.points) return [`${value.points.length} points`, value.ignore ? "ignored" : "", value.schedule ? hours(value.schedule) : ""].filter(Boolean).join(", ");
  return value.timezone ? hours(value) : JSON.stringify(value);
};

/** The changes of one camera, over the box of its picture. */
export class Changes {
  constructor(path, box) {
    this.path = path;
    this.zones = new ZoneEditor(box, (zones) => this.send("PATCH", "zones", { zones }));
    this.schedule = new ScheduleTable((schedule) => (schedule ? this.send("PUT", "schedule", schedule) : this.send("DELETE", "schedule")));
    this.last = h("p", { class: "last soft", "aria-live": "polite" });
    this.canChange = false;
  }

  async send(method, part, body) {
    await send(method, `${this.path}/${part}`, body);
    await this.load();
  }

  /** Give a detector another threshold. Throws an Error with the sentence of the console. */
  threshold(detector, open, close) {
    return this.send("PUT", "thresholds", { detector, open_threshold: open, close_threshold: close });
  }

  async load() {
    const [found, session] = await Promise.all([get(`${this.path}/settings`), get("/api/session")]);
    this.canChange = session.role !== "viewer" && found.takes_changes !== "none";
    this.zones.show(found.zones, this.canChange);
    this.schedule.show(found.schedule, this.canChange);
    this.describe(found);
  }

  describe({ last_change: last, takes_changes: takes }) {
    const parts = [];
    if (last) {
      const [text, kind] = STATES[last.state];
      parts.push(
        chip(text, kind), ` ${last.by} changed `,
        last.settings.map((one, place) => [place ? ", " : "", h("b", null, one.name), ` ${shown(one.before)} → ${shown(one.after)}`]),
        ", ", h("time", { dateTime: last.at, title: clock(last.at) }, ago(last.at)), ".",
        last.problem ? h("span", { class: "bad-text" }, ` ${last.problem}`) : "",
      );
    } else parts.push("No changes: the camera is as its site's file has it.");
    if (takes === "none") parts.push(" Its worker takes no changes.");
    this.last.replaceChildren(...parts.flat(9).filter(Boolean));
    this.last.dataset.state = last?.state ?? "";
  }
}
