// The page: a field, what became of the query, and pictures.

import { button, dialog, element } from "./elements.js";
import { showFilters } from "./filters.js";
import { Grid, PAGE } from "./grid.js";
import { onKnowledge, openKnowledge } from "./knowledge.js";
import { get, post, updateLibrary } from "./requests.js";
import { showRewrite } from "./rewrite.js";
import { change, onChange, picture, state } from "./state.js";
import { openViewer } from "./viewer.js";

/** How long nobody types before it is searched, in milliseconds. */
const PAUSE = 120;
/** The longer side to which pictures are scaled before they are sent. */
const SENT_SIDE = 768;
/** The probability from which a picture counts as fitting. */
const LIKELY = 0.5;

const at = (id) => document.getElementById(id);
const [field, file, results, status, rewrite] = ["query", "file", "results", "status", "rewrite"].map(at);

/** The request for what the page shows now; `enhancer` in place of the page's own. */
function request(offset, k, enhancer) {
  const body = { k, offset, judged: true, like: state.like, unlike: state.unlike };
  if (state.query.trim()) body.query = state.query;
  if (picture) body.image = picture;
  if (state.keep.length) body.keep = state.keep;
  const { in: folder, ...filters } = state.filters;
  if (folder) filters.in = [folder];
  if (Object.keys(filters).length) body.filters = filters;
  // Of what is not a text alone nobody can tell whether it fits.
  if (state.fitting && state.query.trim() && !enhancer && state.rewriting) body.min_fit = LIKELY;
  if (enhancer ?? !state.rewriting) body.enhancer = enhancer ?? "identity";
  return body;
}

const isEmpty = () => !state.query.trim() && !picture && !state.like.length;
const search = (enhancer) => (offset, k) => post("/api/v1/search", request(offset, k, enhancer), running?.signal);

let running = null;
let shown = { query: null, grids: [] };

/** Asks for what the state says, and shows it. */
async function refresh() {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  at("rewriting").setAttribute("aria-pressed", String(state.rewriting));
  at("compare").setAttribute("aria-pressed", String(state.compare));
  if (document.activeElement !== field) field.value = state.query;
  showFilters();
  document.title = state.query ? `${state.query} – relens` : "relens";
  if (isEmpty()) return showStart(signal);
  try {
    // Judgements are of what was typed; a picture has none.
    const judged = state.query.trim() ? get(`/api/v1/judgements?query=${encodeURIComponent(state.query.trim())}`, signal) : [];
    const ways = state.compare && state.query.trim() ? ["identity", "default"] : [undefined];
    const answers = await Promise.all([judged, ...ways.map((way) => search(way)(0, PAGE))]);
    if (!signal.aborted) show(ways, answers.shift(), answers);
  } catch (problem) {
    if (problem.name !== "AbortError" && !signal.aborted) tell(problem.message, true);
  }
}

function show(ways, judged, answers) {
  const marks = new Map(judged.map(({ id, right }) => [id, right]));
  for (const id of state.like) marks.set(id, true);
  for (const id of state.unlike) marks.set(id, false);
  const last = answers.at(-1);
  showRewrite(rewrite, last.rewrites[0]);
  if (ways.length === 2) {
    const titles = ["As typed", "As rewritten"];
    const grids = ways.map((way, side) => new Grid(search(way), actions, titles[side]));
    results.replaceChildren(element("div", { class: "columns" }, ...grids.map((grid, side) =>
      element("section", {}, element("h2", { text: titles[side] }), grid.place))));
    grids[0].show(answers[0], null, marks);
    grids[1].show(answers[1], grids[0].ranks(), marks);
    shown = { query: null, grids };
  } else {
    // What moved can be said if the same was asked for before.
    const same = shown.query !== null && shown.query === state.query && shown.grids.length === 1;
    const grid = same ? shown.grids[0] : new Grid(search(), actions, "Pictures");
    const before = same ? grid.ranks() : null;
    if (!same) results.replaceChildren(grid.place);
    grid.show(last, before, marks);
    shown = { query: state.query, grids: [grid] };
  }
  tell(`${told(last)} · ${last.took_ms.toFixed(0)} ms`);
}

/** What was found, in a sentence. */
function told({ hits, total, line, left_out: missing }) {
  if (!total) return "There are no such pictures";
  if (!hits.length) return "Probably nothing fits";
  const best = line === null ? "" : line === 0 ? ", probably none fits" : `, of which ${line} probably fit`;
  const gone = missing ? ` · left out: ${missing} whose files are missing` : "";
  return `${total} pictures, best first${best}${gone}`;
}

/** Brings the library up to date, and tells how far that is. */
async function update() {
  let outcome = "The library is as it was.";
  try {
    await updateLibrary((event, data) => {
      if (event === "progress") tell(`${data.task}: ${data.done} of ${data.total}`);
      if (event === "done") outcome = `Up to date: ${data.added} new, ${data.changed} changed, ${data.removed} gone.`;
      if (event === "problem") throw new Error(data.detail);
    });
    await refresh();
    tell(outcome);
  } catch (problem) {
    tell(problem.message, true);
  }
}

async function showStart(signal) {
  rewrite.replaceChildren();
  results.replaceChildren();
  shown = { query: null, grids: [] };
  try {
    const library = await get("/api/v1/library", signal);
    tell(`${library.pictures} pictures. Type what you are looking for, or drop a picture here. Press ? for the keys.`);
    if (!library.read_only && library.folders.length) {
      results.append(element("p", {}, button("Look for new pictures", update, { title: library.folders.join("\n") })));
    }
  } catch (problem) {
    if (problem.name !== "AbortError") tell(problem.message, true);
  }
}

function tell(text, problem = false) {
  status.textContent = text;
  status.classList.toggle("problem", problem);
}

/** Says whether a hit is right; saying it twice takes it back. */
async function judge(hit, right) {
  if (!state.query.trim()) {
    const [to, from] = right ? ["like", "unlike"] : ["unlike", "like"];
    const without = (name) => state[name].filter((id) => id !== hit.id);
    return change({ [from]: without(from), [to]: state[to].includes(hit.id) ? without(to) : [...state[to], hit.id] });
  }
  try {
    const query = state.query.trim();
    const said = await get(`/api/v1/judgements?query=${encodeURIComponent(query)}`);
    const again = said.some((judged) => judged.id === hit.id && judged.right === right);
    await post("/api/v1/judgements", { query, id: hit.id, right: again ? null : right });
    await refresh();
  } catch (problem) {
    tell(problem.message, true);
  }
}

const actions = {
  open: (grid, position) => openViewer(grid, position, actions),
  right: (hit) => judge(hit, true),
  wrong: (hit) => judge(hit, false),
  similar: (hit) => {
    field.value = "";
    change({ query: "", keep: [], like: [hit.id], unlike: [], picture: null });
    scrollTo(0, 0);
  },
};

/** Searches by a picture, scaled down so that it is sent quickly. */
async function searchBy(blob) {
  try {
    const bitmap = await createImageBitmap(blob);
    const scale = Math.min(1, SENT_SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = element("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    field.value = "";
    change({ query: "", keep: [], like: [], unlike: [], picture: canvas.toDataURL("image/jpeg", 0.9) });
  } catch {
    tell(`“${blob.name ?? "This"}” cannot be read as a picture.`, true);
  }
}

let typing = null;

/** Takes what is in the field. What was typed a moment ago is no place to come back to. */
function takeTyped() {
  clearTimeout(typing);
  typing = null;
  change({ query: field.value, keep: [] }, { step: false });
}

field.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(takeTyped, PAUSE);
});
// Before another control acts on what was typed.
field.addEventListener("blur", () => {
  if (typing !== null) takeTyped();
});
at("search").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typing);
  typing = null;
  change({ query: field.value, keep: field.value === state.query ? state.keep : [] });
  results.querySelector(".open")?.focus();
});
at("rewriting").addEventListener("click", () => change({ rewriting: !state.rewriting }));
at("compare").addEventListener("click", () => change({ compare: !state.compare }));
at("knowledge").addEventListener("click", openKnowledge);
at("choose").addEventListener("click", () => file.click());
file.addEventListener("change", () => {
  if (file.files[0]) searchBy(file.files[0]);
  file.value = "";
});
addEventListener("paste", (event) => {
  const item = [...(event.clipboardData?.files ?? [])].find((pasted) => pasted.type.startsWith("image/"));
  if (item) {
    event.preventDefault();
    searchBy(item);
  }
});

const drop = at("drop");
addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.hidden = false;
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.hidden = true;
});
addEventListener("drop", (event) => {
  event.preventDefault();
  drop.hidden = true;
  const dropped = event.dataTransfer.files[0];
  if (dropped) searchBy(dropped);
});

const KEYS = [
  ["/", "type a query"], ["Enter", "go to the pictures"], ["← → ↑ ↓", "move among them"], ["Enter or Space", "open one"],
  ["r, w", "it is right, it is wrong"], ["m", "more like it"], ["x, Shift + click", "select it, select all up to it"], ["h", "in an open picture: why it was found"], ["Esc", "close"],
];
addEventListener("keydown", (event) => {
  const writing = event.target.closest?.("input, textarea, dialog") || event.ctrlKey || event.metaKey || event.altKey;
  if (writing) return;
  if (event.key === "/") {
    event.preventDefault();
    field.focus();
    field.select();
  } else if (event.key === "?") {
    const made = dialog("Keys", { small: true });
    made.append(element("ul", { class: "rows" }, ...KEYS.map(([key, what]) =>
      element("li", {}, element("strong", { text: key }), element("span", { class: "grow", text: what })))));
  }
});

onKnowledge(refresh);
onChange(refresh);
field.value = state.query;
refresh();
