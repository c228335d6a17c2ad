// The users of the console, for admins.

import { chip, h, show } from "./dom.js";
import { get, send } from "./link.js";

const ROLES = { viewer: "reads", operator: "also judges, changes thresholds and zones, makes links", admin: "also changes cameras and users" };
let list;
let problem;

const roles = (chosen, props) => h("select", props, Object.keys(ROLES).map((one) => h("option", { value: one, selected: one === chosen }, one)));
const secret = (label) => h("input", { type: "password", minLength: 12, maxLength: 1024, required: true, autocomplete: "new-password", "aria-label": label });

async function attempt(method, path, body) {
  problem.textContent = "";
  try {
    await send(method, path, body);
    return true;
  } catch (error) {
    problem.textContent = error.message;
    return false;
  } finally {
    await load().catch(() => undefined);
  }
}

function row(user) {
  const path = `/api/users/${encodeURIComponent(user.name)}`;
  const role = roles(user.role, { "aria-label": `Role of ${user.name}`, onchange: () => attempt("PATCH", path, { role: role.value }) });
  const able = h("button", { type: "button", onclick: () => attempt("PATCH", path, { is_disabled: !user.is_disabled }) }, user.is_disabled ? "Enable" : "Disable");
  const change = h("button", { type: "button", onclick: () => askForPassword(user.name, path) }, "Password …");
  return h(
    "tr",
    { data: { user: user.name } },
    h("td", null, user.name, " ", user.is_you ? chip("you", "ok") : "", user.is_disabled ? chip("disabled", "warn") : ""),
    h("td", null, role),
    h("td", null, h("div", { class: "buttons" }, change, able)),
  );
}

function askForPassword(name, path) {
  const password = secret(`New password of ${name}`);
  const dialog = h(
    "dialog",
    { "aria-label": `New password of ${name}` },
    h(
      "form",
      { method: "dialog" },
      h("h2", null, `New password of ${name}`),
      h("p", { class: "soft" }, "12 characters at least. Every session of this user ends."),
      password,
      h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), h("button", { type: "submit", class: "main" }, "Change")),
    ),
  );
  dialog.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt("PATCH", path, { password: password.value });
    dialog.close();
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

function adding() {
  const name = h("input", { name: "name", required: true, maxLength: 64, autocomplete: "off", autocapitalize: "none" });
  const role = roles("viewer", { name: "role" });
  const password = secret("Password of the new user");
  const form = h(
    "form",
    { class: "fields" },
    h("label", null, "Name", name),
    h("label", null, "Role", role),
    h("label", null, "Password", password),
    h("button", { type: "submit", class: "main" }, "Add"),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await attempt("POST", "/api/users", { name: name.value, role: role.value, password: password.value })) form.reset();
  });
  return form;
}

async function load() {
  const { users } = await get("/api/users");
  list.replaceChildren(...users.map(row));
}

export async function start() {
  list = h("tbody");
  problem = h("p", { class: "warn-text", role: "alert" });
  show(
    h("h1", null, "Users"),
    problem,
    h("section", { class: "panel scrolls" }, h("table", { class: "plain users" }, h("caption", { class: "hidden" }, "Users of the console"), h("thead", null, h("tr", null, ["name", "role", "change"].map((one) => h("th", { scope: "col" }, one)))), list)),
    h("section", { class: "panel" }, h("h2", null, "Add a user"), adding(), h("dl", null, Object.entries(ROLES).map(([role, rights]) => [h("dt", null, role), h("dd", null, rights)]))),
    h("p", { class: "soft below" }, "A change of a user ends the user's sessions. ", h("code", null, "mistwatch console-users"), " does the same on the console's machine, and removes users."),
  );
  await load();
}
