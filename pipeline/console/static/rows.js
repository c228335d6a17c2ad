// Alerts as rows of a list.

import { chip, clock, h, score, span, words } from "./dom.js";

/** The name of an alert for people. */
export function headline(alert) {
  if (alert.kind === "tamper") return `tampering: ${words(alert.headline)}`;
  if (alert.kind === "drift") return "drift: no longer looks as learned";
  return alert.headline || "alert";
}

export function chipsOf(alert) {
  return [
    alert.is_open ? chip("open", alert.muted === true ? "" : "bad") : null,
    alert.muted === true ? chip("muted") : null,
    alert.judgement === "normal" ? chip("normal", "ok") : null,
    alert.judgement === "real" ? chip("real", "bad") : null,
    alert.is_late ? chip("late", "", "It came when another worker already had the camera") : null,
  ];
}

/** One row: a link to the alert. */
export function row(alert, { isCameraShown = true } = {}) {
  const lasted = alert.ended_at ? span((new Date(alert.ended_at) - new Date(alert.at)) / 1000) : alert.is_open ? "goes on" : "no end known";
  return h(
    "a",
    { class: `row ${alert.kind}`, href: `/alerts/${alert.id}`, data: { id: alert.id, muted: alert.muted === true ? "yes" : "" } },
    h("time", { dateTime: alert.at }, clock(alert.at)),
    h("span", { class: "what" }, isCameraShown ? h("b", null, alert.camera) : "", isCameraShown ? " " : "", headline(alert), alert.zones.length ? h("span", { class: "soft" }, ` · ${alert.zones.join(", ")}`) : "", alert.detector ? h("span", { class: "soft" }, ` · ${alert.detector}`) : ""),
    h("span", { class: "chips" }, chipsOf(alert)),
    h("span", { class: "soft lasted" }, lasted),
    h("span", { class: "number" }, score(alert.peak)),
  );
}

export const rows = (alerts, options) => h("div", { class: "rows" }, alerts.map((one) => row(one, options)));
