// A camera removed from its page: the confirmation, and the line that says when no worker watches it any more.

import { openDialog } from "./dialog.js";
import { chip, h } from "./dom.js";
import { send } from "./link.js";
import { may } from "./session.js";

const PATIENCE_SECONDS = 60;

/** The panel of the removal of a camera. */
export class Removal {
  /** `camera()` is its newest summary, `changes` its changes on the page. */
  constructor(name, path, camera, changes) {
    this.name = name;
    this.path = path;
    this.camera = camera;
    this.changes = changes;
    this.isGone = false;
    this.button = h("button", { type: "button", class: "danger remove", onclick: () => this.ask() }, "Remove this camera …");
    this.line = h("p", { role: "status" });
    this.panel = h("section", { class: "panel removal", hidden: true }, this.button, this.line);
  }

  /** Show the button to admins, where the camera's worker takes changes. */
  async allow() {
    this.panel.hidden = !(this.changes.canChange && (await may("admin")));
  }

  ask() {
    const count = this.camera().open_alerts.length;
    const fate = count > 1 ? "Its open alerts end with the reason “shutdown”, and stay" : `${count ? "Its open alert" : "An alert that is open by then"} ends with the reason “shutdown”, and stays`;
    const dialog = openDialog({
      title: `Remove camera ${this.name}?`,
      label: `Remove ${this.name}`,
      kind: "danger",
      content: [
        h("p", null, "No worker watches it any more, within seconds. Its earlier alerts stay in the list."),
        h("p", { class: "fate" }, `${fate} in the list too.`),
      ],
      act: () => this.remove(),
    });
    dialog.querySelector(".buttons button").focus(); // Cancel: a press of Enter must not remove
  }

  async remove() {
    this.isGone = false;
    await send("DELETE", this.path);
    if (this.isGone) return; // the worker was faster than the answer
    this.button.hidden = true;
    this.say("pending", "not in force yet", "warn", "The removal was sent; its worker ends the camera within seconds.");
    const late = `The removal was sent ${PATIENCE_SECONDS} s ago, and its worker still reports the camera. The worker's log has the reason.`;
    this.timer = setTimeout(() => this.say("pending", "not in force yet", "warn", late), PATIENCE_SECONDS * 1000);
    await this.changes.load().catch(() => undefined);
  }

  /** No worker watches the camera any more. */
  gone() {
    clearTimeout(this.timer);
    this.isGone = true;
    this.panel.hidden = false;
    this.button.hidden = true;
    this.say("in_force", "removed", "", `Camera ${this.name} is not watched any more. `, h("a", { href: "/" }, "Back to the wall"));
  }

  /** A worker has reported the camera: it refuses the removal, or the camera was added again after it. */
  take() {
    const { state } = this.line.dataset;
    const isRefused = state === "pending" && this.changes.last.dataset.state === "refused";
    if (!isRefused && state !== "in_force") return;
    clearTimeout(this.timer);
    if (isRefused) this.say("refused", "refused", "bad", "The worker keeps the camera; the reason stands with the last change.");
    else this.line.replaceChildren();
    if (!isRefused) delete this.line.dataset.state;
    this.button.hidden = false;
    this.allow();
  }

  say(state, text, kind, ...rest) {
    this.line.replaceChildren(chip(text, kind), " ", ...rest);
    this.line.dataset.state = state;
  }
}
