// Dialogs of the pages: a form with a title, one line for its problem, Cancel, and the button that acts.

import { h } from "./dom.js";

/**
 * Open a dialog. `act()` is awaited when its form is sent: the dialog closes where it returns, and shows the sentence of
 * an Error in one line. `blame(message)` names the field that an error is about.
 */
export function openDialog({ title, content, label, kind = "main", act, blame = () => null }) {
  const heading = h("h2", { id: "dialog-title" }, title);
  const problem = h("p", { id: "dialog-problem", class: "bad-text", role: "alert", hidden: true });
  const send = h("button", { type: "submit", class: kind }, label);
  const cancel = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  // The fields have no names: nothing of them can get into an address.
  const form = h("form", { method: "dialog" }, heading, problem, content, h("div", { class: "buttons" }, cancel, send));
  const dialog = h("dialog", { "aria-labelledby": heading.id }, form);

  function complain(message) {
    problem.textContent = message;
    problem.hidden = !message;
    const blamed = message ? blame(message) : null;
    for (const field of form.querySelectorAll("input")) {
      field.removeAttribute("aria-invalid");
      if (field !== blamed) continue;
      field.setAttribute("aria-invalid", "true");
      field.setAttribute("aria-errormessage", problem.id);
      field.focus();
    }
  }
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    complain("");
    try {
      await act();
      dialog.close();
    } catch (error) {
      complain(error.message);
    }
    send.disabled = false;
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
