// Asking the server. A server with a key answers 401 once; the key is then asked for and kept as a cookie.

import { button, dialog, element } from "./elements.js";

/** What the server says is wrong. */
export class RequestProblem extends Error {}

async function send(path, options) {
  const response = await fetch(path, { credentials: "same-origin", ...options });
  if (response.ok) return response.status === 204 ? null : response.json();
  if (response.status === 401 && (await askForKey())) return send(path, options);
  let detail = `The server answered ${response.status}.`;
  try {
    detail = (await response.json()).detail ?? detail;
  } catch {
    // No problem details: the status has to do.
  }
  throw new RequestProblem(detail);
}

let asking = null;

/** Asks for the key; several requests that fail together ask once. */
function askForKey() {
  asking ??= new Promise((resolve) => {
    const made = dialog("This server needs a key", { small: true });
    const input = element("input", { type: "password", autocomplete: "current-password", "aria-label": "Key" });
    const note = element("p", { class: "note", role: "alert" });
    let accepted = false;
    const form = element("form", {
      onsubmit: async (event) => {
        event.preventDefault();
        const headers = { Authorization: `Bearer ${input.value}` };
        const response = await fetch("/api/v1/session", { method: "POST", headers });
        accepted = response.ok;
        if (accepted) made.close();
        else note.textContent = "This is not the key.";
      },
    }, element("label", { class: "field", text: "Key" }, input), button("Continue", null, { type: "submit", class: "primary" }), note);
    made.append(form);
    made.addEventListener("close", () => {
      asking = null;
      resolve(accepted);
    });
  });
  return asking;
}

const json = (method) => (path, body, signal) =>
  send(path, { method, signal, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const get = (path, signal) => send(path, { signal });
export const post = json("POST");
export const put = json("PUT");
export const remove = json("DELETE");

/** Brings the library up to date; calls `tell` with every event's name and data until the last. */
export async function updateLibrary(tell) {
  const response = await fetch("/api/v1/index", { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" });
  if (!response.ok) throw new RequestProblem((await response.json()).detail);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const field = (name) => event.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      tell(field("event"), JSON.parse(field("data")));
    }
  }
}

/** The address of a picture. */
export const thumbnail = (id, size = 256) => `/api/v1/images/${id}/thumbnail?size=${size}`;
export const archive = (ids) => `/api/v1/images/zip?ids=${ids.join(",")}`;
export const original = (id) => `/api/v1/images/${id}/original`;
