// A sparkline of the smoothed score against its threshold.

import { s } from "./dom.js";

const WIDTH = 240;
const HEIGHT = 36;
const BRIDGED = 2; // slots without a score that the line crosses: clips of a slow model

/** Draw values in [0, 1] (null: none) with a dashed threshold; the part above the threshold stands out. */
export function spark(values, threshold) {
  const step = WIDTH / Math.max(1, values.length - 1);
  const y = (value) => HEIGHT - 1.5 - value * (HEIGHT - 3);
  let path = "";
  let last = -Infinity;
  values.forEach((value, place) => {
    if (value === null) return;
    const isNear = place - last <= BRIDGED + 1;
    path += `${isNear ? "L" : "M"}${(place * step).toFixed(1)} ${y(value).toFixed(1)}${isNear ? "" : "h0.01"}`;
    last = place;
  });
  const parts = [s("path", { class: "curve", d: path })];
  if (threshold !== null && threshold !== undefined) {
    parts.unshift(s("line", { class: "level", x1: 0, x2: WIDTH, y1: y(threshold), y2: y(threshold) }));
    values.forEach((value, place) => {
      if (value !== null && value >= threshold) {
        parts.push(s("line", { class: "over", x1: place * step, x2: place * step, y1: y(threshold), y2: y(value) }));
      }
    });
  }
  return s("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, ...parts);
}

const SLOT = 5;

/** Put a newer value into a sparkline's values, whose last one began at `slot`; returns the present slot. */
export function push(values, slot, at, value) {
  const present = Math.floor(at / SLOT);
  for (let passed = slot; passed < present && passed < slot + values.length; passed += 1) {
    values.shift();
    values.push(null);
  }
  const place = values.length - 1 - (Math.max(slot, present) - present);
  if (place >= 0 && value !== null) values[place] = Math.max(values[place] ?? 0, value);
  return Math.max(slot, present);
}

export const slotOf = (seconds) => Math.floor(seconds / SLOT);
