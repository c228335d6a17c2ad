// Who uses this page, and what that role may do.

import { h } from "./dom.js";
import { get } from "./link.js";

const ROLES = ["viewer", "operator", "admin"];
let asked = null;

/** The session of this page: name, role, login (there is one), users (the console has a file of them). */
export const session = () => (asked ??= get("/api/session").catch((error) => ((asked = null), Promise.reject(error))));

/** Whether this user has the rights of a role. */
export async function may(role) {
  return ROLES.indexOf((await session()).role) >= ROLES.indexOf(role);
}

async function logOut() {
  const { csrf_token: token } = await get("/api/session");
  await fetch("/logout", { method: "POST", headers: { "x-csrf-token": token }, redirect: "manual" });
  location.assign("/login");
}

/** Show who is logged in, and the page of the users to an admin; nothing on a console without a login. */
export async function showSession() {
  const { name, role, login, users } = await session();
  if (!login) return;
  if (users && role === "admin") {
    const isHere = document.body.dataset.view === "users";
    document.querySelector(".top nav").append(h("a", { href: "/users", "aria-current": isHere ? "page" : undefined }, "Users"));
  }
  document.querySelector("#link").before(h("span", { class: "who" }, h("span", { class: "soft", title: role }, name), h("button", { type: "button", class: "quiet", onclick: logOut }, "Log out")));
  document.querySelector(".top nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" }); // a narrow page scrolls its links
}
