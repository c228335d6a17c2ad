// Every page: its own module, the state of the connection, and news of alerts.

import { clock, h, main, show } from "./dom.js";
import { connect, get, on } from "./link.js";
import { showSession } from "./session.js";

const VIEWS = { wall: "./wall.js", camera: "./camera.js", alerts: "./alerts.js", alert: "./alert.js", groups: "./groups.js", health: "./health.js", users: "./users.js" };
const NEWS_SECONDS = 12;
const view = document.body.dataset.view;
const open = new Map(); // unmuted open alerts by id
const known = new Set();

function setLink(isThere) {
  const link = document.querySelector("#link");
  link.dataset.state = isThere ? "live" : "lost";
  link.textContent = isThere ? "live" : "connection lost";
  document.body.classList.toggle("offline", !isThere);
}

function setTrouble(topics) {
  const bad = topics.filter((one) => one.trouble && !one.is_missing && one.purpose !== "pictures");
  const place = document.querySelector("#trouble");
  place.hidden = bad.length === 0;
  const alerts = bad.find((one) => one.purpose === "alerts") ?? bad[0];
  document.body.classList.toggle("blind", bad.length > 0);
  if (alerts) place.textContent = `What is shown may be old: ${alerts.trouble}.`;
}

function note(alert) {
  if (alert.kind === "alert" && alert.is_open && alert.muted !== true) open.set(alert.id, alert);
  else open.delete(alert.id);
  const count = document.querySelector("#open-count");
  count.hidden = open.size === 0;
  count.textContent = open.size;
  count.setAttribute("aria-label", `${open.size} open`);
}

function announce(alert) {
  if (known.has(alert.id) || alert.is_late || !alert.is_open || alert.muted === true) return;
  known.add(alert.id);
  const what = alert.kind === "alert" ? alert.headline || "Alert" : alert.kind === "tamper" ? `Tampering: ${alert.headline}` : "Drift";
  const line = h("a", { class: "newsline", href: `/alerts/${alert.id}` }, h("b", null, alert.camera), ` ${what} `, h("span", { class: "soft" }, clock(alert.at)));
  document.querySelector("#news").prepend(line);
  setTimeout(() => line.remove(), NEWS_SECONDS * 1000);
  while (document.querySelectorAll(".newsline").length > 4) document.querySelector("#news").lastChild.remove();
}

async function countOpen() {
  const { alerts } = await get("/api/alerts?is_open=true&limit=200");
  open.clear();
  alerts.forEach((one) => known.add(one.id));
  alerts.forEach(note);
}

on("link", setLink);
on("alert", (alert) => (note(alert), announce(alert)));
on("topics", setTrouble);
on("reload", countOpen);

async function start() {
  if (!(view in VIEWS)) return;
  try {
    const page = await import(VIEWS[view]);
    showSession().catch(() => undefined);
    await countOpen();
    await page.start(document.body.dataset.subject);
    setTrouble((await get("/api/health")).topics);
  } catch (error) {
    show(h("section", { class: "empty" }, h("h1", null, "This page could not be loaded"), h("p", null, error.message)));
  }
  main().dataset.ready = "yes";
}

start();
connect();
