// One camera: live picture with heat, hours of scores, what another threshold would do, its alerts.

import { Changes } from "./changes.js";
import { ago, chip, clock, h, many, picture, score, show, span, words } from "./dom.js";
import { FullScreen } from "./fullscreen.js";
import { drawHeat } from "./heat.js";
import { get, on } from "./link.js";
import { Removal } from "./removing.js";
import { rows } from "./rows.js";
import { Timeline } from "./timeline.js";
import { stateOf } from "./wall.js";

const HOURS = [1, 3, 6, 12];
let name;
let path;
let camera;
let detector = null;
let hours = 3;
let timeline;
let shown; // picture, heat, age
let facts;
let result;
let list;
let asked = 0;
let changes;
let removal;
let applied = null; // a threshold that was sent and is not in force yet

async function loadPicture() {
  shown.screen.allow(Boolean(camera.picture));
  if (!camera.picture) {
    shown.box.classList.add("none");
    return;
  }
  const live = await get(`${path}/picture`);
  shown.screen.setShape(live.width / live.height);
  shown.box.classList.remove("none");
  shown.at = new Date(live.at).getTime();
  shown.heat = live.heat;
  const next = new Image();
  next.src = live.url;
  await next.decode().catch(() => undefined);
  shown.image.src = next.src;
  drawHeat(shown.canvas, shown.toggle.checked ? live.heat : null);
  shown.toggle.disabled = !live.heat;
  age();
}

function age() {
  const isOld = !camera.is_live || (shown.at && Date.now() - shown.at > 10000);
  shown.box.classList.toggle("old", Boolean(isOld));
  shown.age.textContent = shown.at ? (isOld ? `not live: picture ${ago(shown.at)}` : "live") : "";
  shown.age.hidden = !shown.at;
}

function drawFacts() {
  const [text, kind] = stateOf(camera);
  const dropped = Object.entries(camera.dropped).filter(([, count]) => count);
  const fact = (label, ...value) => [h("dt", null, label), h("dd", null, ...value)];
  facts.replaceChildren(
    h("h1", null, name, " ", chip(text, kind)),
    camera.message ? h("p", { class: "warn-text" }, camera.message) : "",
    h(
      "dl",
      null,
      fact("since", camera.since ? `${clock(camera.since)} (${span((Date.now() - new Date(camera.since)) / 1000)})` : "–"),
      fact("last frame", ago(camera.last_frame_at)),
      fact("worker", camera.worker ?? "–"),
      fact("clips", `${many(camera.scored, "scored", "scored")}, ${many(camera.gated, "gated", "gated")}`),
      dropped.length ? fact("dropped", dropped.map(([reason, count]) => `${count.toLocaleString()} ${words(reason)}`).join(", ")) : "",
      camera.open_tamper.length ? fact("tampering", h("span", { class: "warn-text" }, camera.open_tamper.map(words).join(", "))) : "",
      camera.has_drifted ? fact("drift", h("span", { class: "warn-text" }, "no longer looks as it was learned")) : "",
    ),
    h(
      "table",
      { class: "plain" },
      h("caption", { class: "hidden" }, "Detectors"),
      h("thead", null, h("tr", null, ["detector", "model", "score", "smoothed", "threshold"].map((one, place) => h("th", { scope: "col", class: place > 1 ? "number" : "" }, one)))),
      h(
        "tbody",
        null,
        camera.detectors.map((one) =>
          h("tr", null, h("td", null, one.detector || "default"), h("td", { class: "model" }, one.model || "–"), h("td", { class: "number" }, score(one.score), one.gated ? h("span", { class: "soft" }, " still") : ""), h("td", { class: "number" }, score(one.smoothed)), h("td", { class: "number" }, score(one.threshold))),
        ),
      ),
    ),
  );
}

async function loadScores() {
  const query = new URLSearchParams({ detector, hours, points: 800 });
  try {
    const scores = await get(`${path}/scores?${query}`);
    if (applied !== null && scores.threshold !== null && Math.abs(scores.threshold - applied) < 1e-6) {
      result.replaceChildren(h("span", { class: "soft", data: { applied } }, `The threshold ${score(applied)} is in force.`));
      applied = null;
      timeline.isMoved = false;
      timeline.wouldBe = null;
    }
    timeline.draw(scores);
    const span_ = scores.known_since && new Date(scores.known_since) > new Date(scores.since) ? ` Scores are known since ${clock(scores.known_since)}.` : "";
    const gaps = scores.gaps ? ` ${many(scores.gaps, "gap")} in the history.` : "";
    timeline.note.textContent = scores.times.length ? `${many(scores.alerts.length, "alert")} in ${hours} h.${span_}${gaps}` : "No scores are known in this time.";
  } catch (error) {
    timeline.note.textContent = error.message;
  }
}

async function tryThreshold(value) {
  const turn = ++asked;
  if (value === null) {
    timeline.setThreshold(timeline.scores.threshold);
    timeline.showWouldBe(null);
    result.replaceChildren(hint());
    return;
  }
  await new Promise((done) => setTimeout(done, 60));
  if (turn !== asked) return; // dragged on
  try {
    const query = new URLSearchParams({ detector, hours, threshold: value });
    const found = await get(`${path}/what-if?${query}`);
    if (turn !== asked) return;
    timeline.showWouldBe(found.would_be.alerts);
    const rate = (one) => (one.per_hour === null ? "" : ` (${one.per_hour.toFixed(one.per_hour < 10 ? 1 : 0)} an hour)`);
    result.replaceChildren(
      h("span", null, h("b", { data: { count: found.would_be.count } }, `At ${score(value)}: ${many(found.would_be.count, "alert")}`), rate(found.would_be)),
      h("span", { class: "soft" }, `now, at ${score(found.present.threshold)}: ${many(found.present.count, "alert")}${rate(found.present)}`),
      h("span", { class: "soft" }, `over ${span(found.hours * 3600)} of scores${found.gaps ? `, with ${many(found.gaps, "gap")}` : ""}`),
      changes.canChange ? h("button", { type: "button", class: "main apply", onclick: () => apply(value, found.would_be.close_threshold) }, "Apply") : "",
      h("button", { type: "button", onclick: () => tryThreshold(null) }, "Put back"),
    );
  } catch (error) {
    result.replaceChildren(h("span", { class: "warn-text" }, error.message));
  }
}

async function apply(value, close) {
  const line = h("span", { class: "soft", role: "status" }, `Sending ${score(value)} …`);
  result.replaceChildren(line);
  try {
    await changes.threshold(detector, value, close);
    applied = value;
    line.textContent = `The threshold ${score(value)} was sent; its worker applies it within seconds.`;
  } catch (error) {
    result.replaceChildren(h("span", { class: "warn-text", role: "alert" }, error.message), h("button", { type: "button", onclick: () => tryThreshold(null) }, "Put back"));
  }
}

const hint = () => h("span", { class: "soft" }, "Drag the threshold, or use the arrow keys on it, to count the alerts that another value would have raised. Nothing is changed until you apply it.");

async function loadAlerts() {
  const { alerts } = await get(`/api/alerts?${new URLSearchParams({ camera: name, limit: 12 })}`);
  list.replaceChildren(alerts.length ? rows(alerts, { isCameraShown: false }) : h("p", { class: "soft" }, "No alerts of this camera are known."));
}

async function loadCamera() {
  camera = await get(path);
  drawFacts();
  const names = camera.detectors.map((one) => one.detector);
  if (detector === null || !names.includes(detector)) detector = names[0] ?? "";
}

function picker(label, values, present, take, text = (one) => one) {
  const select = h("select", { "aria-label": label, onchange: () => take(values[select.selectedIndex]) }, values.map((one) => h("option", { selected: one === present }, text(one))));
  return select;
}

export async function start(subject) {
  name = subject;
  path = `/api/cameras/${encodeURIComponent(name)}`;
  facts = h("section", { class: "facts" });
  timeline = new Timeline(tryThreshold);
  timeline.note = h("span", { class: "soft" });
  result = h("p", { class: "result", "aria-live": "polite" }, hint());
  list = h("div");
  shown = { image: h("img", { alt: `Live picture of ${name}` }), canvas: h("canvas", { class: "heat", "aria-hidden": "true" }), age: h("span", { class: "age", hidden: true }) };
  shown.toggle = h("input", { type: "checkbox", checked: true, onchange: () => drawHeat(shown.canvas, shown.toggle.checked ? shown.heat : null) });
  shown.box = h("div", { class: "live none" }, shown.image, shown.canvas, shown.age, picture(null, "", "No live picture. The site publishes some where kafka.pictures_topic is set."));
  shown.screen = new FullScreen(shown.box, h("label", { class: "check" }, shown.toggle, "heat"));
  changes = new Changes(path, shown.box);
  removal = new Removal(name, path, () => camera, changes);
  await loadCamera();
  const names = camera.detectors.map((one) => one.detector);
  show(
    h("div", { class: "camera" }, h("section", { class: "view" }, shown.screen.box, changes.last), facts),
    h(
      "section",
      { class: "panel" },
      h(
        "div",
        { class: "bar" },
        h("h2", null, "Score"),
        timeline.note,
        h("span", { class: "grow" }),
        names.length > 1 ? picker("Detector", names, detector, (one) => ((detector = one), tryThreshold(null), loadScores()), (one) => one || "default") : "",
        picker("Hours", HOURS, hours, (one) => ((hours = one), loadScores()), (one) => `${one} h`),
      ),
      result,
      timeline.box,
      h("p", { class: "legend soft" }, h("span", { class: "key alert" }), "raised", h("span", { class: "key would-be" }), "at the tried threshold"),
    ),
    h("div", { class: "columns" }, changes.zones.panel, changes.schedule.panel),
    h("section", { class: "panel" }, h("div", { class: "bar" }, h("h2", null, "Alerts"), h("span", { class: "grow" }), h("a", { href: `/alerts?camera=${encodeURIComponent(name)}` }, "all")), list),
    removal.panel,
  );
  await Promise.all([loadPicture(), loadScores(), loadAlerts(), changes.load()]);
  await removal.allow();
  on("camera", (one) => one.camera === name && ((camera = one), drawFacts(), age(), changes.load().then(() => removal.take()).catch(() => {})));
  on("gone", (one) => one.camera === name && loadCamera().catch(() => removal.gone()));
  on("alert", (one) => one.camera === name && loadAlerts());
  on("reload", () => Promise.all([loadCamera(), loadScores(), loadAlerts(), changes.load()]));
  on("tick", ({ scores, pictures }) => {
    if (pictures.includes(name)) loadCamera().then(loadPicture);
    for (const [of, by, , smoothed, newest] of scores) {
      const known = of === name && camera.detectors.find((one) => one.detector === by);
      if (known) Object.assign(known, { smoothed, score: newest });
      else if (of === name) loadCamera();
    }
    if (scores.some(([of]) => of === name)) drawFacts();
  });
  setInterval(age, 1000);
  setInterval(() => document.hidden || loadScores(), 5000);
}
