// The page of one alert: what a permanent link shows.

import { show } from "./dom.js";
import { detail, isFilmAwaited, judge } from "./detail.js";
import { drawAround } from "./film.js";
import { get, on } from "./link.js";

export async function start(id) {
  let found;
  let again;
  const load = async () => {
    found = await get(`/api/alerts/${id}`);
    drawAround(document.body, () => show(detail(found, { done: () => setTimeout(load, 800), isPage: true })));
    clearTimeout(again);
    if (isFilmAwaited(found)) again = setTimeout(load, 2000); // no event reports that the film is there
  };
  await load();
  on("alert", (alert) => alert.id === id && load());
  on("judged", load);
  on("reload", load);
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, textarea, select, dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
    const verdict = { n: "normal", r: "real" }[event.key];
    if (verdict && found.can_judge) {
      event.preventDefault();
      judge(found.alert, verdict, () => setTimeout(load, 800));
    }
  });
}
