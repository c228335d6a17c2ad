// One alert: picture, film, scores, likeness, and its judgement.

import { chip, clock, h, picture, s, score, span, words } from "./dom.js";
import { filmOf } from "./film.js";
import { post } from "./link.js";
import { chipsOf, headline } from "./rows.js";
import { share } from "./share.js";

const FILM_SECONDS = 90;
const GONE = { gone: "The picture is gone: it was older than the site keeps it.", none: "This event names no picture.", remote: "The picture lies on another machine." };

/** A film, and after it its notes, lie beside the pictures some seconds after the alert's end; not where it failed. */
export function isFilmAwaited(found) {
  const isRecent = found.alert.ended_at && Date.now() - new Date(found.alert.ended_at) < FILM_SECONDS * 1000;
  return Boolean(isRecent && found.event.data.film && !found.film?.heat);
}

function evidenceOf(found) {
  if (found.film) return h("div", { class: "evidence" }, filmOf(found));
  const gone = isFilmAwaited(found) ? "The film is being made." : (GONE[found.evidence] ?? "The picture is gone.");
  return h("div", { class: "evidence" }, picture(found.pictures[0], `Picture of the alert of ${found.alert.camera}`, gone));
}

function chart(scores, threshold) {
  if (scores.length < 2) return null;
  const [width, height] = [600, 110];
  const [from, to] = [scores[0][0], scores.at(-1)[0]];
  const x = (at) => ((at - from) / Math.max(0.001, to - from)) * width;
  const y = (value) => height - 3 - value * (height - 6);
  const line = (place) => scores.map((one, number) => `${number ? "L" : "M"}${x(one[0]).toFixed(1)} ${y(one[place]).toFixed(1)}`).join("");
  return h(
    "figure",
    { class: "scores" },
    s("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": "Scores during the alert" }, threshold === null ? "" : s("line", { class: "level", x1: 0, x2: width, y1: y(threshold), y2: y(threshold) }), s("path", { class: "raw", d: line(1) }), s("path", { class: "curve", d: line(2) })),
    h("figcaption", { class: "soft" }, h("span", null, clock(from * 1000)), h("span", null, "score, and smoothed"), h("span", null, clock(to * 1000))),
  );
}

function likeness(found) {
  if (!found.similar.length) return null;
  return [
    h("h3", null, "Earlier alerts like it"),
    h(
      "div",
      { class: "strip" },
      found.similar.map((one) =>
        h(one.is_known ? "a" : "span", { class: "like", href: one.is_known ? `/alerts/${one.id}` : undefined }, picture(one.picture, `Earlier alert of ${one.camera}`, "no picture"), h("span", null, `${Math.round(one.similarity * 100)} % · ${one.camera}`), h("span", { class: "soft" }, one.started_at ? clock(one.started_at, { seconds: false }) : "time unknown", one.judgement ? ` · ${one.judgement}` : "")),
      ),
    ),
  ];
}

/** Ask for a judgement and publish it; `done()` is called when the broker has it. */
export function judge(alert, verdict, done) {
  const note = h("textarea", { rows: 2, maxLength: 500, "aria-label": "Note" });
  const group = h("input", { type: "checkbox" });
  const force = h("input", { type: "checkbox" });
  const forced = h("label", { class: "check", hidden: true }, force, "publish all the same");
  const problem = h("p", { class: "warn-text", role: "alert" });
  const words_ = {
    normal: ["Normal here?", "Alerts like this one are muted for 90 days. They are still recorded.", "Judge normal"],
    real: ["A real incident?", "Alerts that are nearest to this one are never muted.", "Judge real"],
    withdrawn: ["Withdraw the judgement?", "Alerts like this one are treated as before.", "Withdraw"],
  }[verdict];
  const send = h("button", { type: "submit", class: "main" }, words_[2]);
  const dialog = h(
    "dialog",
    { "aria-label": words_[0] },
    h(
      "form",
      { method: "dialog" },
      h("h2", null, words_[0]),
      h("p", null, words_[1]),
      verdict === "withdrawn" ? "" : h("label", null, "Note for your colleagues", note),
      alert.group ? h("label", { class: "check" }, group, "the whole group of alerts like it") : "",
      forced,
      problem,
      h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), send),
    ),
  );
  dialog.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    problem.textContent = "";
    try {
      await post(`/api/alerts/${alert.id}/judgement`, { verdict, note: verdict === "withdrawn" ? "" : note.value, group: group.checked, force: force.checked });
      dialog.close();
      done?.();
    } catch (error) {
      problem.textContent = error.message;
      forced.hidden = error.status !== 409 || !/not judged, because/.test(error.message);
    }
    send.disabled = false;
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/** The detail of an alert, from the answer of the API. */
export function detail(found, { done, isPage = false } = {}) {
  const { alert } = found;
  const data = found.event.data;
  const fact = (label, value) => (value ? [h("dt", null, label), h("dd", null, value)] : null);
  const ask = (verdict, text, kind) => h("button", { type: "button", class: kind, onclick: () => judge(alert, verdict, done) }, text);
  return h(
    "article",
    { class: "detail", data: { id: alert.id } },
    h("div", { class: "bar" }, h(isPage ? "h1" : "h2", null, h("a", { href: `/cameras/${encodeURIComponent(alert.camera)}` }, alert.camera), ` ${headline(alert)} `, chipsOf(alert)), h("span", { class: "grow" }), isPage ? "" : h("a", { href: `/alerts/${alert.id}`, class: "soft" }, "link")),
    evidenceOf(found),
    isPage ? share(found) : null,
    alert.kind === "alert"
      ? h(
          "div",
          { class: "buttons judge" },
          found.can_judge ? [ask("normal", "Normal (n)", ""), ask("real", "Real (r)", "")] : h("span", { class: "soft" }, "It cannot be judged: its likeness is not known."),
          found.judgement ? [chip(`judged ${found.judgement.verdict}${found.judgement.about === "group" ? ", with its group" : ""}`, found.judgement.verdict === "real" ? "bad" : "ok"), found.judgement.about === "alert" ? ask("withdrawn", "Withdraw", "quiet") : ""] : "",
        )
      : null,
    found.judgement?.note ? h("p", { class: "note" }, `“${found.judgement.note}”`) : null,
    found.muted_note ? h("p", { class: "note soft" }, `Muted: ${found.muted_note}`) : null,
    chart(found.scores, alert.threshold),
    h(
      "dl",
      null,
      fact("began", data.started_at ? `${clock(data.started_at)}${data.time_source === "arrival" ? " (by arrival)" : ""}` : "time unknown"),
      fact("ended", alert.ended_at ? `${clock(alert.ended_at)}, after ${span((new Date(alert.ended_at) - new Date(alert.at)) / 1000)}` : alert.is_open ? "goes on" : "no end is known"),
      fact("because", found.end_reason ? words(found.end_reason) : null),
      fact(alert.kind === "alert" ? "peak" : "measure", `${score(alert.peak)} (threshold ${score(alert.threshold)})`),
      fact("place", alert.place),
      fact("zones", alert.zones.join(", ")),
      fact("detector", alert.detector),
      fact("model", found.model),
      fact("group", alert.group ? h("a", { href: `/alerts?group=${alert.group}` }, alert.group.slice(0, 8)) : null),
      fact("id", h("code", null, alert.id)),
    ),
    likeness(found),
    h("details", null, h("summary", null, "The event as it came"), h("pre", null, JSON.stringify(found.event, null, 1))),
  );
}
