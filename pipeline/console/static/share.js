// Links to an alert's film or picture that open without a login until they end.

import { clock, h } from "./dom.js";
import { post } from "./link.js";
import { may, session } from "./session.js";

const HOURS = 24;

/** A button that makes a signed link and copies it; nothing for users without the right, and on a console without a login. */
export function share(found) {
  const url = found.film?.url ?? found.pictures[0];
  if (!url) return null;
  const what = found.film ? "film" : "picture";
  const said = h("span", { class: "soft", role: "status" });
  const place = h("input", { type: "text", readOnly: true, hidden: true, "aria-label": `Link to the ${what}` });
  const button = h("button", { type: "button", onclick: copy }, `Copy link to the ${what}`);
  const box = h("p", { class: "share", hidden: true }, button, said, place);
  Promise.all([may("operator"), session()]).then(([isAllowed, { login }]) => (box.hidden = !isAllowed || !login), () => undefined);

  async function copy() {
    try {
      const link = await post("/api/links", { url, hours: HOURS });
      place.value = new URL(link.url, location.href).href;
      place.hidden = false;
      const until = `It opens without a login until ${clock(link.expires_at)}, or until the console restarts.`;
      const isCopied = await navigator.clipboard.writeText(place.value).then(() => true, () => false);
      said.textContent = isCopied ? `Copied. ${until}` : `Copy it from here. ${until}`;
      if (!isCopied) place.select();
    } catch (error) {
      said.textContent = error.message;
    }
  }
  return box;
}
