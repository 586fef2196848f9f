// What is searched for, kept in the address: it can be sent, kept, and gone back to.

const listeners = [];
/** Conditions on pictures beside what they show, by their names in the address. */
export const FILTERS = ["after", "before", "in", "camera", "type"];

/** The state that an address stands for. */
function read() {
  const address = new URLSearchParams(location.search);
  const ids = (name) => (address.get(name) ?? "").split(",").map(Number).filter((id) => Number.isSafeInteger(id) && id > 0);
  return {
    query: address.get("q") ?? "",
    like: ids("like"),
    unlike: ids("unlike"),
    keep: address.getAll("keep"),
    rewriting: address.get("rewriting") !== "off",
    compare: address.get("compare") === "on",
    fitting: address.get("fitting") === "on",
    filters: Object.fromEntries(FILTERS.filter((name) => address.get(name)).map((name) => [name, address.get(name)])),
  };
}

function write({ query, like, unlike, keep, rewriting, compare, fitting, filters }) {
  const address = new URLSearchParams();
  if (query) address.set("q", query);
  if (like.length) address.set("like", like.join(","));
  if (unlike.length) address.set("unlike", unlike.join(","));
  for (const word of keep) address.append("keep", word);
  if (!rewriting) address.set("rewriting", "off");
  if (compare) address.set("compare", "on");
  if (fitting) address.set("fitting", "on");
  for (const [name, value] of Object.entries(filters)) address.set(name, value);
  const text = address.toString();
  return text ? `?${text}` : location.pathname;
}

export let state = read();
/** A picture that was dropped, pasted or chosen; it is too large for an address. */
export let picture = null;

/** Changes the state. `step` makes it one that "back" comes back to. */
export function change(changes, { step = true } = {}) {
  if ("picture" in changes) picture = changes.picture;
  const { picture: _, ...rest } = changes;
  state = { ...state, ...rest };
  history[step ? "pushState" : "replaceState"](null, "", write(state));
  tell();
}

/** Calls `listener` whenever the state has changed. */
export function onChange(listener) {
  listeners.push(listener);
}

function tell() {
  for (const listener of listeners) listener();
}

addEventListener("popstate", () => {
  state = read();
  picture = null;
  tell();
});
