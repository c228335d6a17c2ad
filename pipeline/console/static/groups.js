// Groups of alike alerts, most recent first.

import { ago, chip, h, many, picture, show } from "./dom.js";
import { judge } from "./detail.js";
import { get, on } from "./link.js";
import { headline } from "./rows.js";

let place;

function card(group) {
  const ask = (verdict, text) => h("button", { type: "button", onclick: () => judge({ ...group.example, group: group.group }, verdict, () => setTimeout(load, 800)) }, text);
  return h(
    "article",
    { class: "group" },
    h("a", { class: "frame", href: `/alerts?group=${group.group}` }, picture(group.picture, `An alert of the group, camera ${group.example.camera}`, "no picture is left"), h("span", { class: "size" }, group.size.toLocaleString())),
    h(
      "div",
      { class: "body" },
      h("div", { class: "head" }, h("b", { class: "name" }, headline(group.example)), group.judgement ? chip(group.judgement, group.judgement === "real" ? "bad" : "ok") : ""),
      h("p", { class: "soft" }, `${group.cameras.slice(0, 3).join(", ")}${group.cameras.length > 3 ? " …" : ""} · ${ago(group.last_at)} · ${many(group.last_day, "alert")} in a day`),
      group.note ? h("p", { class: "note" }, `“${group.note}”`) : "",
      h("div", { class: "buttons" }, ask("normal", "Normal"), ask("real", "Real")),
    ),
  );
}

async function load() {
  const { groups } = await get("/api/groups");
  place.replaceChildren(...(groups.length ? groups.map(card) : [h("p", { class: "empty" }, "No groups yet. Alerts are grouped where the site has a model of likeness.")]));
}

export async function start() {
  place = h("div", { class: "groups" });
  show(h("div", { class: "bar" }, h("h1", { class: "quiet" }, "Groups"), h("span", { class: "soft" }, "alerts that look alike; judge one and its kin are treated likewise")), place);
  await load();
  let waiting;
  const soon = () => (clearTimeout(waiting), (waiting = setTimeout(load, 1000)));
  on("alert", soon);
  on("judged", soon);
  on("reload", load);
}
