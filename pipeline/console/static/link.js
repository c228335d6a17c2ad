// The connection to the console: answers of its API, and its stream of updates.

/** The answer to a GET. Throws an Error with the sentence of the console. */
export async function get(path) {
  return answerOf(await fetch(path, { headers: { accept: "application/json" } }));
}

/** The answer to a POST with a JSON body. Throws an Error, with `status`. */
export const post = (path, body) => send("POST", path, body);

/** The answer to a request that changes something; a body is sent as JSON. Throws an Error, with `status`. */
export async function send(method, path, body) {
  const { csrf_token: token } = await get("/api/session");
  const headers = { "content-type": "application/json", "x-csrf-token": token };
  return answerOf(await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) }));
}

/** Ask for the login where the session has ended, and come back to this page. */
function askForLogin() {
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}

async function answerOf(response) {
  if (response.status === 401) askForLogin();
  let document = null;
  try {
    document = await response.json();
  } catch {
    document = { detail: `the console answered ${response.status}` };
  }
  if (response.ok) return document;
  throw Object.assign(new Error(document.detail ?? `the console answered ${response.status}`), {
    status: response.status,
  });
}

const listeners = new Map();
const KINDS = ["camera", "alert", "tick", "judged", "topics", "gone", "reload", "resync", "hello"];
let source = null;
let heardAt = 0;

/** Call `take(data)` with each update of a kind; "link" is called with true or false when the connection changes. */
export function on(kind, take) {
  if (!listeners.has(kind)) listeners.set(kind, []);
  listeners.get(kind).push(take);
}

const call = (kind, data) => (listeners.get(kind) ?? []).forEach((take) => take(data));

export const isLinked = () => source !== null && source.readyState === EventSource.OPEN;

/** Connect; the browser connects again by itself, and resumes after the last update that it has. */
export function connect() {
  source = new EventSource("/api/stream");
  for (const kind of KINDS) {
    source.addEventListener(kind, (event) => {
      heardAt = Date.now();
      const data = JSON.parse(event.data);
      if (kind === "hello") call("link", true);
      else if (kind === "resync") call("reload", data);
      else call(kind, data);
    });
  }
  source.addEventListener("error", () => {
    call("link", false);
    if (source.readyState !== EventSource.CLOSED) return;
    // Refused: the browser has given up. The question notices a session that has ended.
    get("/api/session").catch(() => {}).finally(() => setTimeout(connect, 2000));
  });
}

// A page that slept (a phone in a pocket) has missed more than the stream keeps: load everything again.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && heardAt && Date.now() - heardAt > 60000) call("reload", {});
});
