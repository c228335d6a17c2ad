// The list of alerts: filters, keyboard, and the chosen alert beside it.

import { h, many, show } from "./dom.js";
import { detail, judge } from "./detail.js";
import { drawAround } from "./film.js";
import { get, on } from "./link.js";
import { row } from "./rows.js";

const SPANS = { "": "any time", 3600: "last hour", 86400: "last day", 604800: "last week" };
const query = new URLSearchParams(location.search);
let list;
let side;
let counted;
let more;
let following = null;
let chosen = null; // the detail that is shown
let turn = 0;

const isWide = () => matchMedia("(min-width: 900px)").matches;

function filters(cameras, detectors) {
  const choice = (name, label, options) => {
    const select = h("select", { name, "aria-label": label }, Object.entries(options).map(([value, text]) => h("option", { value, selected: (query.get(name) ?? "") === value }, text)));
    return select;
  };
  const named = (names, all) => ({ "": all, ...Object.fromEntries(names.map((one) => [one, one])) });
  const form = h(
    "form",
    { class: "bar filters", role: "search", "aria-label": "Filters" },
    choice("span", "Time", SPANS),
    choice("camera", "Camera", named(cameras, "all cameras")),
    detectors.length > 1 ? choice("detector", "Detector", named(detectors.filter(Boolean), "all detectors")) : "",
    choice("kind", "Kind", { "": "all kinds", alert: "alerts", tamper: "tampering", drift: "drift" }),
    choice("judgement", "Judgement", { "": "judged or not", none: "not judged", normal: "normal", real: "real" }),
    choice("muted", "Muted", { "": "muted or not", false: "not muted", true: "muted" }),
    h("input", { type: "search", name: "place", placeholder: "place, zone or thing", "aria-label": "Place", value: query.get("place") ?? "" }),
    query.get("group") ? h("span", { class: "chip" }, `group ${query.get("group").slice(0, 8)} `, h("a", { href: "/alerts", "aria-label": "Leave the group" }, "×")) : "",
    h("span", { class: "grow" }),
    (counted = h("span", { class: "soft", role: "status" })),
  );
  let waiting;
  const change = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      for (const [name, value] of new FormData(form)) value ? query.set(name, value) : query.delete(name);
      history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
      load();
    }, 150);
  };
  form.addEventListener("input", change);
  form.addEventListener("submit", (event) => event.preventDefault());
  return form;
}

function asked(extra = {}) {
  const wanted = new URLSearchParams({ limit: 60, ...extra });
  for (const [name, value] of query) {
    if (name === "span") wanted.set("since", new Date(Date.now() - value * 1000).toISOString());
    else wanted.set(name, value);
  }
  return `/api/alerts?${wanted}`;
}

async function load() {
  const mine = ++turn;
  const page = await get(asked());
  if (mine !== turn) return;
  following = page.following;
  list.replaceChildren(...page.alerts.map((one) => row(one)));
  if (!page.alerts.length) list.append(h("p", { class: "empty" }, page.known ? "No alert matches these filters." : "No alerts are on the topic yet. That is good news."));
  describe(page);
  const wanted = chosen && list.querySelector(`[data-id="${chosen.alert.id}"]`);
  if (wanted) mark(wanted);
  else if (isWide() && page.alerts.length) choose(list.querySelector(".row"), { focus: false });
  else if (!page.alerts.length) side.replaceChildren();
}

function describe(page) {
  more.hidden = !following;
  const shown = list.querySelectorAll(".row").length;
  const old = page.forgotten ? `; ${many(page.forgotten, "older one")} no longer held` : "";
  counted.textContent = `${shown}${following ? "+" : ""} shown of ${page.known.toLocaleString()}${old}`;
}

async function loadMore() {
  const page = await get(asked({ cursor: following }));
  following = page.following;
  list.append(...page.alerts.map((one) => row(one)));
  describe(page);
}

function mark(chosenRow) {
  for (const one of list.querySelectorAll("[aria-current]")) one.removeAttribute("aria-current");
  chosenRow.setAttribute("aria-current", "true");
}

async function choose(chosenRow, { focus = true } = {}) {
  if (!chosenRow) return;
  mark(chosenRow);
  if (focus) chosenRow.focus({ preventScroll: true });
  chosenRow.scrollIntoView({ block: "nearest" });
  if (!isWide()) return;
  const id = chosenRow.dataset.id;
  const found = await get(`/api/alerts/${id}`);
  if (chosenRow.getAttribute("aria-current") !== "true") return; // moved on meanwhile
  chosen = found;
  side.replaceChildren(detail(found, { done: () => setTimeout(refresh, 800) }));
}

async function refresh() {
  if (!chosen) return;
  chosen = await get(`/api/alerts/${chosen.alert.id}`);
  drawAround(side, () => side.replaceChildren(detail(chosen, { done: () => setTimeout(refresh, 800) })));
  const old = list.querySelector(`[data-id="${chosen.alert.id}"]`);
  if (old) {
    const fresh = row(chosen.alert);
    old.replaceWith(fresh);
    mark(fresh);
  }
}

function key(event) {
  if (event.target.closest("input, textarea, select, dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
  const all = [...list.querySelectorAll(".row")];
  const place = all.findIndex((one) => one.getAttribute("aria-current"));
  if (event.key === "j") choose(all[Math.min(all.length - 1, place + 1)]);
  else if (event.key === "k") choose(all[Math.max(0, place - 1)]);
  else if ((event.key === "n" || event.key === "r") && chosen?.can_judge) judge(chosen.alert, event.key === "n" ? "normal" : "real", () => setTimeout(refresh, 800));
  else return;
  event.preventDefault();
}

function takeAlert(alert) {
  const there = list.querySelector(`[data-id="${alert.id}"]`);
  if (there) {
    const fresh = row(alert);
    if (there.getAttribute("aria-current")) fresh.setAttribute("aria-current", "true");
    there.replaceWith(fresh);
    if (chosen?.alert.id === alert.id) refresh();
  } else if (list.getBoundingClientRect().top > -200) {
    load(); // a new one: the filters decide on the server
  }
}

export async function start() {
  const { cameras } = await get("/api/cameras");
  list = h("div", { class: "rows", "aria-label": "Alerts" });
  side = h("aside", { class: "side", "aria-label": "The chosen alert" });
  more = h("button", { type: "button", class: "more", hidden: true, onclick: loadMore }, "Older alerts");
  list.addEventListener("click", (event) => {
    const clicked = event.target.closest(".row");
    if (!clicked || !isWide() || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    choose(clicked);
  });
  const names = [...new Set(cameras.flatMap((one) => one.detectors.map((two) => two.detector)))];
  show(
    h("h1", { class: "hidden" }, "Alerts"),
    filters(cameras.map((one) => one.camera), names),
    h("div", { class: "split" }, h("div", null, list, more, h("p", { class: "soft keys" }, h("kbd", null, "j"), " ", h("kbd", null, "k"), " next and previous · ", h("kbd", null, "n"), " normal · ", h("kbd", null, "r"), " real")), side),
  );
  document.addEventListener("keydown", key);
  on("alert", takeAlert);
  on("judged", () => (load(), refresh()));
  on("reload", load);
  await load();
}
