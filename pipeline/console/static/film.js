// The film of an alert, and the heat of its clips over it.

import { h, picture } from "./dom.js";
import { FullScreen } from "./fullscreen.js";
import { drawHeat } from "./heat.js";
import { get } from "./link.js";

/** A film has heat for its alert's clips alone: farther from all of them than this, nothing is drawn. Seconds. */
const REACH = 1;

/** The place of the clip that is nearest to a time of the film, or -1. The later one of overlapping clips counts. */
export function nearest(clips, seconds) {
  let best = -1;
  let least = Infinity;
  clips.forEach((clip, place) => {
    const outside = Math.max(clip.start_seconds - seconds, seconds - clip.end_seconds, 0);
    const distance = outside * 1000 + Math.abs((clip.start_seconds + clip.end_seconds) / 2 - seconds);
    if (outside <= REACH && distance <= least) [best, least] = [place, distance];
  });
  return best;
}

const isWatched = (video) => Boolean(video) && (!video.paused || Boolean(document.fullscreenElement?.contains(video)));

/** Draw what is in a box anew, unless a film in it is being watched; one that stands keeps its place. */
export function drawAround(box, draw) {
  const before = box.querySelector("video");
  if (isWatched(before)) return;
  draw();
  const after = box.querySelector("video");
  if (before?.currentTime && after) after.currentTime = before.currentTime;
}

class Overlay {
  constructor(film, heat) {
    this.film = film;
    this.heat = heat;
    this.canvas = h("canvas", { class: "heat", "aria-hidden": "true" });
    this.toggle = h("input", { type: "checkbox", checked: true, onchange: () => this.draw(true) });
    this.drawn = null;
    for (const kind of ["seeked", "timeupdate", "pause"]) film.addEventListener(kind, () => this.draw());
    this.follow();
  }

  /** Draw with each frame that is shown; where the browser cannot say when, with each of its own. */
  follow() {
    const next = () => (this.draw(), this.follow());
    if (this.film.requestVideoFrameCallback) this.film.requestVideoFrameCallback(next);
    else if (this.film.isConnected || this.drawn === null) requestAnimationFrame(next);
  }

  draw(isAnew = false) {
    const place = this.toggle.checked ? nearest(this.heat.clips, this.film.currentTime) : -1;
    if (place === this.drawn && !isAnew) return;
    this.drawn = place;
    this.canvas.dataset.clip = place;
    const clip = this.heat.clips[place];
    const { left, top, right, bottom } = this.heat;
    drawHeat(this.canvas, clip ? { rows: clip.rows, columns: clip.columns, values: clip.cells, left, top, right, bottom } : null);
  }
}

/** The film of an answer of the API, with a toggle for its heat where its notes have some. */
export function filmOf(found) {
  const { film } = found;
  const video = h("video", { src: film.url, controls: true, preload: "metadata", playsInline: true, controlsList: document.fullscreenEnabled ? "nofullscreen" : null, "aria-label": `Film of the alert of ${found.alert.camera}` });
  if (found.pictures[0]) video.poster = found.pictures[0];
  const box = h("div", { class: "film" }, video);
  const screen = new FullScreen(box);
  const play = () => {
    video.currentTime = Math.max(0, start.at);
    video.play().catch(() => {}); // a browser may refuse: the film stands at the alert, with its controls
  };
  const start = h("button", { type: "button", onclick: play });
  const startsAt = (seconds) => {
    if (seconds === null) return;
    start.at = seconds;
    start.textContent = `Play from the alert (${Math.max(0, seconds).toFixed(1)} s)`;
    if (!start.parentNode) screen.tools.prepend(start);
  };
  startsAt(film.alert_starts_at_seconds);
  video.addEventListener("error", () => screen.box.replaceWith(picture(found.pictures[0], "Picture of the alert", "The film is gone.")), { once: true });
  // The canvas lies over the picture, so the box has its shape: black bars are outside.
  video.addEventListener("loadedmetadata", () => {
    if (video.videoWidth) screen.setShape(video.videoWidth / video.videoHeight);
  });
  if (film.heat) addNotes(film.heat, { video, box, screen, startsAt });
  return screen.box;
}

/** The notes have the times that the film really has, what it lacks, and heat; without them it plays all the same. */
async function addNotes(url, { video, box, screen, startsAt }) {
  let notes;
  try {
    notes = await get(url);
  } catch {
    return;
  }
  startsAt(notes.alert_starts_at_seconds);
  if (notes.heat?.clips.length) {
    const overlay = new Overlay(video, notes.heat);
    box.append(overlay.canvas);
    screen.add(h("label", { class: "check" }, overlay.toggle, "heat"));
    overlay.draw();
  }
  if (notes.lacks) screen.add(h("span", { class: "soft" }, `Not complete: ${notes.lacks}`));
}
