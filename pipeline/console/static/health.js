// The state of topics, workers and cameras.

import { ago, chip, h, show, span, words } from "./dom.js";
import { get, on } from "./link.js";

let place;

function table(caption, heads, lines) {
  return h(
    "section",
    { class: "panel" },
    h("h2", null, caption),
    lines.length
      ? h("div", { class: "scroll" }, h("table", { class: "plain" }, h("thead", null, h("tr", null, heads.map((one, place) => h("th", { scope: "col", class: typeof lines[0][place] === "number" ? "number" : "" }, one)))), h("tbody", null, lines.map((line) => h("tr", null, line.map((cell) => h("td", { class: typeof cell === "number" ? "number" : "" }, typeof cell === "number" ? cell.toLocaleString() : cell)))))))
      : h("p", { class: "soft" }, "None."),
  );
}

function topic(one) {
  const state = one.is_missing ? chip(one.purpose === "pictures" ? "off" : "not there yet") : one.trouble ? chip("cannot be read", "bad") : one.is_caught_up ? chip("followed", "ok") : chip("being read", "warn");
  return [one.purpose, h("code", null, one.topic), state, (one.is_missing ? "the broker has no such topic" : one.trouble) ?? (one.stale_seconds === null ? "nothing yet" : `answered ${span(one.stale_seconds)} ago`), one.records];
}

async function load() {
  const health = await get("/api/health");
  const number = (value, label, kind) => h("div", { class: `figure ${kind ?? ""}` }, h("b", null, value.toLocaleString()), h("span", { class: "soft" }, label));
  const all = Object.values(health.cameras_by_state).reduce((sum, one) => sum + one, 0);
  const total = Math.max(1, health.scored + health.gated);
  const lost = Object.values(health.dropped).reduce((sum, one) => sum + one, 0);
  place.replaceChildren(
    h("div", { class: "figures" }, number(all, "cameras"), number(health.cameras_by_state.streaming ?? 0, "streaming"), number(health.cameras_by_state.stale ?? 0, "stale", health.cameras_by_state.stale ? "warn-text" : ""), number(health.open_alerts, "open events", health.open_alerts ? "bad-text" : ""), number(health.alerts, "alerts held"), number(health.scored, "clips scored"), number(lost, `clips dropped (${((100 * lost) / (total + lost)).toFixed(1)} %)`, lost > total / 20 ? "warn-text" : "")),
    table("Topics", ["purpose", "topic", "state", "", "records"], health.topics.map(topic)),
    table("Workers", ["worker", "cameras", "stale", "last report"], health.workers.map((one) => [one.worker, one.cameras, one.stale, ago(one.last_report_at)])),
    h(
      "div",
      { class: "columns" },
      table("Cameras by state", ["state", "cameras"], Object.entries(health.cameras_by_state).map(([state, count]) => [words(state), count])),
      table("Clips dropped by reason", ["reason", "clips"], Object.entries(health.dropped).filter(([, count]) => count).map(([reason, count]) => [words(reason), count])),
      table("Served models", ["model and version", "cameras"], Object.entries(health.models).map(([model, count]) => [h("code", null, model), count])),
    ),
  );
}

export async function start() {
  place = h("div");
  show(h("h1", { class: "hidden" }, "Health"), place);
  await load();
  on("topics", load);
  on("reload", load);
  setInterval(() => document.hidden || load().catch(() => undefined), 3000);
}
