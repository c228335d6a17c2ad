// A camera added from the wall: the dialog, and the line that says when a worker watches it.

import { openDialog } from "./dialog.js";
import { chip, h } from "./dom.js";
import { get, post } from "./link.js";
import { may } from "./session.js";

const PATIENCE_SECONDS = 60;

/** The button, for admins of a console that can send changes. `known()` are the cameras; `done(sent)` takes the answer. */
export function addingButton(known, done) {
  const button = h("button", { type: "button", class: "add", hidden: true, onclick: () => ask(known(), done) }, "Add a camera");
  const allow = (takesNew) => may("admin").then((isAllowed) => (button.hidden = !(isAllowed && takesNew)), () => undefined);
  return { button, allow };
}

function ask(cameras, done) {
  const plain = { autocomplete: "off", autocapitalize: "none", spellcheck: "false" };
  const name = h("input", { ...plain, required: true, maxLength: 200 });
  // Hidden like a password: some cameras take a token as a part of their address.
  const source = h("input", { ...plain, type: "password", required: true, maxLength: 2000, "aria-describedby": "source-hint" });
  const reveal = h("input", { type: "checkbox", onchange: () => (source.type = reveal.checked ? "text" : "password") });
  const username = h("input", { ...plain, maxLength: 200 });
  const detectors = h("input", { ...plain, placeholder: "all of the site" });
  const names = [...new Set(cameras.flatMap((one) => one.detectors.map((each) => each.detector)))].filter(Boolean);
  const dialog = openDialog({
    title: "Add a camera",
    label: "Add camera",
    content: [
      h("label", null, "Name", name),
      h("label", null, "Source", source),
      h("label", { class: "check" }, reveal, "show the source while typing"),
      h("small", { id: "source-hint", class: "soft" }, "Such as rtsp://…, without a password: its worker has that from its environment. The console does not show the source again."),
      h("label", null, "User name at the camera (optional)", username),
      names.length ? h("label", null, "Detectors (optional, separated by commas)", detectors, h("small", null, `Known: ${names.join(", ")}`)) : "",
    ],
    blame: (message) => (/\bsource: /.test(message) ? source : /username: /.test(message) ? username : /detectors?: /.test(message) ? detectors : /there is one|a name |^name: /.test(message) ? name : null),
    async act() {
      const wanted = { name: name.value.trim(), source: source.value.trim() };
      if (username.value.trim()) wanted.username = username.value.trim();
      const chosen = detectors.value.split(/[,\s]+/).filter(Boolean);
      if (chosen.length) wanted.detectors = chosen;
      done(await post("/api/cameras", wanted));
    },
  });
  dialog.addEventListener("close", () => (source.value = ""));
}

/** The newest camera that this page has added. */
export class AddedCamera {
  constructor() {
    this.line = h("p", { class: "added", role: "status", hidden: true });
    this.name = null;
  }

  /** Take the answer to a new camera. */
  sent({ camera }) {
    this.name = camera;
    this.say("pending", "not in force yet", "warn", " was sent; its worker reports it within seconds.");
    clearTimeout(this.timer);
    const late = () => this.say("pending", "not in force yet", "warn", ` was sent, but no worker has reported it for ${PATIENCE_SECONDS} s. The worker's log has the reason.`);
    this.timer = setTimeout(late, PATIENCE_SECONDS * 1000);
  }

  /** A worker has reported a camera: ask for the state of the change where it is ours. */
  async take(name) {
    if (name !== this.name) return;
    const found = await get(`/api/cameras/${encodeURIComponent(name)}/settings`).catch(() => null);
    if (!found || name !== this.name) return;
    const { state, problem } = found.last_change ?? { state: "in_force" };
    if (state === "pending") return;
    clearTimeout(this.timer);
    this.name = null;
    if (state === "refused") this.say(state, "refused", "bad", `: ${problem}`, name);
    else this.say("in_force", "in force", "ok", " is watched.", name);
  }

  say(state, text, kind, rest, isThere = null) {
    const name = isThere ?? this.name;
    const shown = isThere ? h("a", { href: `/cameras/${encodeURIComponent(name)}` }, name) : h("b", null, name);
    this.line.replaceChildren(chip(text, kind), " Camera ", shown, rest);
    this.line.dataset.state = state;
    this.line.hidden = false;
  }
}
