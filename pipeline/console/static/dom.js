// Elements, texts and times: the little that all pages share.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "class") element.setAttribute("class", value);
    else if (name in element && !(element instanceof SVGElement) && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(9).filter((one) => one !== null && one !== undefined && one !== false));
  return element;
}

/** An HTML element: h("a", { href: "/" }, "Wall"). */
export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);
/** An SVG element. */
export const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

export const main = () => document.querySelector("#main");
/** Replace the content of the page. */
export const show = (...children) => main().replaceChildren(...children);

const two = (number) => String(number).padStart(2, "0");
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/** A time of day, with the day where it is not today: "14:03:09", "3 Feb 14:03". */
export function clock(moment, { seconds = true } = {}) {
  const at = new Date(moment);
  const today = at.toDateString() === new Date().toDateString();
  const time = `${two(at.getHours())}:${two(at.getMinutes())}`;
  return today ? (seconds ? `${time}:${two(at.getSeconds())}` : time) : `${day.format(at)} ${time}`;
}

/** A length of time in one unit or two: "4 s", "12 min", "3 h 05 min". */
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

export const ageOf = (moment) => (Date.now() - new Date(moment).getTime()) / 1000;
export const ago = (moment) => (moment ? `${span(ageOf(moment))} ago` : "never");
export const score = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));
export const words = (name) => name.replaceAll("_", " ");
export const many = (count, one, several = `${one}s`) => `${count.toLocaleString()} ${count === 1 ? one : several}`;

/** A picture that explains itself where it is gone. */
export function picture(url, alt, gone = "This picture is gone.") {
  if (!url) return h("div", { class: "nopicture", role: "img", "aria-label": gone }, h("span", null, gone));
  const image = h("img", { src: url, alt, loading: "lazy" });
  image.addEventListener("error", () => image.replaceWith(picture(null, alt, gone)), { once: true });
  return image;
}

export function chip(text, kind, title) {
  return h("span", { class: `chip ${kind ?? ""}`, title }, text);
}
