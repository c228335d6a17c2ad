// The wall: a tile for each camera, the unusual ones first.

import { AddedCamera, addingButton } from "./adding.js";
import { ago, ageOf, chip, h, many, score, show, words } from "./dom.js";
import { get, on } from "./link.js";
import { push, slotOf, spark } from "./spark.js";

const PICTURE_STALE_SECONDS = 10;
const tiles = new Map(); // by camera
let grid;
let counts;
let add;
let added;
let onlyUnusual = false;
let wanted = "";
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) entry.target.dataset.visible = entry.isIntersecting ? "yes" : "";
});

/** The state of a camera for people, and the kind of its chip. Only a fresh, streaming camera is live. */
export function stateOf(camera) {
  if (camera.is_stale) return [camera.reported_at ? `stale, was ${words(camera.state)}` : "not reported", "warn"];
  if (camera.state === "streaming") return ["live", "ok"];
  return [words(camera.state), camera.state === "connecting" || camera.state === "stopped" ? "" : "bad"];
}

class Tile {
  constructor(camera) {
    this.picture = h("img", { alt: "", hidden: true });
    this.placeholder = h("div", { class: "nopicture" }, h("span"));
    this.age = h("span", { class: "age", hidden: true });
    this.chips = h("div", { class: "chips" });
    this.name = h("b", { class: "name" }, camera.camera);
    this.lines = h("div", { class: "lines" });
    this.reason = h("p", { class: "reason soft", hidden: true });
    this.root = h(
      "a",
      { class: "tile", href: `/cameras/${encodeURIComponent(camera.camera)}`, data: { camera: camera.camera } },
      h("div", { class: "frame" }, this.picture, this.placeholder, this.age, this.chips),
      h("div", { class: "body" }, h("div", { class: "head" }, this.name, (this.state = h("span", { class: "chip" }))), this.reason, this.lines),
    );
    this.picture.addEventListener("error", () => this.setPictureShown(false));
    this.picture.addEventListener("load", () => this.setPictureShown(true));
    seen.observe(this.root);
    this.take(camera);
  }

  setPictureShown(isShown) {
    this.picture.hidden = !isShown;
    this.placeholder.hidden = isShown;
  }

  take(camera) {
    this.camera = camera;
    this.sparks = new Map(camera.detectors.map((one) => [one.detector, { ...one, slot: slotOf(Date.now() / 1000) }]));
    const [text, kind] = stateOf(camera);
    this.state.textContent = text;
    this.state.className = `chip ${kind}`;
    this.reason.textContent = camera.message ?? "";
    this.reason.hidden = !camera.message;
    const chips = [];
    if (camera.open_alerts.length) chips.push(chip(camera.rank >= 6 ? "alert" : "muted alert", camera.rank >= 6 ? "bad" : ""));
    for (const kind of camera.open_tamper) chips.push(chip(words(kind), "warn"));
    if (camera.has_drifted) chips.push(chip("drift", "warn"));
    this.chips.replaceChildren(...chips);
    this.root.dataset.rank = camera.rank;
    this.root.setAttribute("aria-label", `Camera ${camera.camera}: ${text}${camera.open_alerts.length ? ", alert open" : ""}`);
    if (camera.picture) this.load(new Date(camera.picture.at).getTime());
    else this.placeholder.firstChild.textContent = "no live picture";
    this.drawLines();
    this.tick();
  }

  load(at) {
    this.pictureAt = at;
    this.picture.src = `/api/cameras/${encodeURIComponent(this.camera.camera)}/picture.jpg?at=${at}`;
  }

  takeScore([, detector, at, smoothed, newest, threshold]) {
    const line = this.sparks.get(detector);
    if (!line) return false;
    Object.assign(line, { smoothed, score: newest, threshold: threshold ?? line.threshold });
    line.slot = push(line.spark, line.slot, at, smoothed);
    this.isStaleDrawing = true;
    return true;
  }

  drawLines() {
    this.isStaleDrawing = false;
    this.lines.replaceChildren(
      ...[...this.sparks.values()].map((one) =>
        h(
          "div",
          { class: "line" },
          one.detector ? h("span", { class: "soft detector" }, one.detector) : null,
          spark(one.spark, one.threshold),
          h("span", { class: `value ${one.threshold !== null && one.smoothed >= one.threshold ? "over" : ""}`, title: `threshold ${score(one.threshold)}` }, score(one.smoothed)),
        ),
      ),
    );
  }

  /** Once a second: ages, and the drawing where it is out of date. */
  tick() {
    if (this.isStaleDrawing && this.root.dataset.visible) this.drawLines();
    const pictureAge = this.pictureAt ? (Date.now() - this.pictureAt) / 1000 : null;
    const isOld = !this.camera.is_live || (pictureAge !== null && pictureAge > PICTURE_STALE_SECONDS);
    this.root.classList.toggle("old", isOld);
    this.age.hidden = !(isOld && this.pictureAt);
    if (!this.age.hidden) this.age.textContent = `picture ${ago(this.pictureAt)}`;
  }
}

function arrange() {
  const shown = [...tiles.values()].filter(
    (one) => (!onlyUnusual || one.camera.rank > 1) && one.camera.camera.toLowerCase().includes(wanted),
  );
  shown.sort((a, b) => b.camera.rank - a.camera.rank || a.camera.camera.localeCompare(b.camera.camera, undefined, { numeric: true }));
  const present = [...grid.children];
  if (present.length !== shown.length || shown.some((one, place) => present[place] !== one.root)) {
    const focused = document.activeElement;
    grid.replaceChildren(...(shown.length ? shown.map((one) => one.root) : [empty()]));
    if (grid.contains(focused)) focused.focus();
  }
  const all = [...tiles.values()].map((one) => one.camera);
  const count = (right) => all.filter(right).length;
  counts.replaceChildren(
    h("span", null, h("b", null, count((one) => one.is_live)), ` of ${many(all.length, "camera")} live`),
    h("span", { class: count((one) => one.rank === 6) ? "bad-text" : "" }, h("b", null, count((one) => one.open_alerts.length)), " with an open alert"),
    h("span", { class: count((one) => one.is_stale) ? "warn-text" : "" }, h("b", null, count((one) => one.is_stale)), " stale"),
  );
}

function empty() {
  const text = tiles.size
    ? "No camera matches. Clear the search, or show all cameras."
    : "No camera has reported yet. A worker reports its cameras to the topic as soon as it runs.";
  return h("p", { class: "empty" }, text);
}

function put(camera) {
  const tile = tiles.get(camera.camera);
  if (tile) tile.take(camera);
  else tiles.set(camera.camera, new Tile(camera));
}

async function load() {
  const { cameras, takes_new: takesNew } = await get("/api/cameras");
  add.allow(takesNew);
  const names = new Set(cameras.map((one) => one.camera));
  for (const name of [...tiles.keys()]) if (!names.has(name)) tiles.delete(name);
  cameras.forEach(put);
  arrange();
}

export async function start() {
  grid = h("div", { class: "wall" });
  counts = h("p", { class: "counts", "aria-live": "off" });
  const search = h("input", { type: "search", placeholder: "Find a camera", "aria-label": "Find a camera", oninput: () => ((wanted = search.value.toLowerCase()), arrange()) });
  const toggle = h("input", { type: "checkbox", onchange: () => ((onlyUnusual = toggle.checked), arrange()) });
  added = new AddedCamera();
  add = addingButton(() => [...tiles.values()].map((one) => one.camera), (sent) => added.sent(sent));
  show(
    h("div", { class: "bar" }, h("h1", { class: "quiet" }, "Wall"), counts, h("span", { class: "grow" }), h("label", { class: "check" }, toggle, "only unusual"), search, add.button),
    added.line,
    grid,
  );
  await load();
  on("camera", (camera) => (put(camera), arrange(), added.take(camera.camera)));
  on("gone", ({ camera }) => (tiles.delete(camera), arrange()));
  on("reload", load);
  on("tick", ({ scores, pictures }) => {
    for (const line of scores) tiles.get(line[0])?.takeScore(line);
    for (const name of pictures) {
      const tile = tiles.get(name);
      if (tile?.root.dataset.visible) tile.load(Date.now());
    }
  });
  setInterval(() => tiles.forEach((one) => one.tick()), 1000);
}

export { ageOf };
