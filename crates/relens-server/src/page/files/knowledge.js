// What words mean and what things look like: read, changed and taken back; the ranking moves at once.

import { button, dialog, element } from "./elements.js";
import { get, post, put, remove } from "./requests.js";

const WORDS = "/api/v1/knowledge/words";
const ENTITIES = "/api/v1/knowledge/entities";
let changed = () => {};

/** Calls `listener` after every change. */
export function onKnowledge(listener) {
  changed = listener;
}

const at = (place, name) => `${place}/${encodeURIComponent(name)}`;
const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

/** A form in a dialog; `save` may throw what is to be told. */
function form(title, fields, save, others = []) {
  const made = dialog(title, { small: true });
  const note = element("p", { class: "note", role: "alert" });
  const attempt = (action) => async (event) => {
    event?.preventDefault();
    try {
      await action();
      made.close();
      changed();
    } catch (problem) {
      note.textContent = problem.message;
    }
  };
  const buttons = others.map(([text, action]) => button(text, attempt(action)));
  made.append(element("form", { onsubmit: attempt(save) }, ...fields, note,
    element("div", { class: "bar" }, button("Save", null, { type: "submit", class: "primary" }), ...buttons)));
  return made;
}

function field(label, value, hint, tag = "textarea") {
  const input = element(tag, { "aria-label": label });
  input.value = value;
  const place = element("label", { class: "field" }, label, input, element("span", { class: "note", text: hint }));
  return [place, input];
}

/** What is known under a name, or nothing. */
async function known(place, name) {
  try {
    return await get(at(place, name));
  } catch {
    return null;
  }
}

/** Edits what a word means. */
export async function editWord(word) {
  const before = await known(WORDS, word);
  const meanings = before?.meanings ?? [];
  const [place, input] = field("It means", meanings.map((meaning) => meaning.text).join("\n"),
    "Common words that fit in its place, the usual meaning first, one a line. Nothing: searches leave it alone.");
  const kinds = new Map(meanings.map((meaning) => [meaning.text, meaning.kind]));
  const body = () => ({ meanings: lines(input.value).map((text) => ({ text, kind: kinds.get(text) ?? "name" })) });
  form(word, [place], () => put(at(WORDS, word), body()), [["As it came with relens", () => remove(at(WORDS, word), {})]]);
}

/** Edits what something looks like. */
export async function editEntity(name) {
  const before = (await known(ENTITIES, name)) ?? { visual: true, frequency: 0, aliases: [], senses: [{ descriptions: [] }] };
  const [aliasPlace, aliases] = field("Other names", before.aliases.join("\n"), "One a line.");
  const senses = (before.senses.length ? before.senses : [{ descriptions: [] }]).map((sense) => {
    const label = sense.sense ? `It looks like (${sense.sense})` : "It looks like";
    const [place, input] = field(label, sense.descriptions.join("\n"), "Each fit to stand after “which has”, one a line.");
    return { sense: sense.sense, place, input };
  });
  const save = () => {
    const filled = senses.map(({ sense, input }) => ({ sense, descriptions: lines(input.value) })).filter((sense) => sense.descriptions.length);
    return put(at(ENTITIES, name), { visual: filled.length > 0, frequency: before.frequency, aliases: lines(aliases.value), senses: filled });
  };
  form(name, [...senses.map((sense) => sense.place), aliasPlace], save, [["Remove", () => remove(at(ENTITIES, name), {})]]);
}

/** The whole of it, to search, edit, and take back. */
export function openKnowledge() {
  const made = dialog("Knowledge");
  const list = element("ul", { class: "rows" });
  const note = element("p", { class: "note", role: "status" });
  const search = element("input", { type: "search", "aria-label": "Search the knowledge", placeholder: "A word or a thing" });
  const tabs = { Words: showWords, Things: showEntities, History: showHistory };
  const buttons = Object.keys(tabs).map((name) => button(name, () => choose(name)));
  let chosen = "Words";
  let request = 0;

  function choose(name) {
    chosen = name;
    for (const tab of buttons) tab.setAttribute("aria-pressed", String(tab.textContent === name));
    search.hidden = name === "History";
    show();
  }

  async function show() {
    const number = ++request;
    try {
      const rows = await tabs[chosen](search.value.trim());
      if (number === request) list.replaceChildren(...rows);
    } catch (problem) {
      note.textContent = problem.message;
    }
  }

  const row = (name, text, edit) =>
    element("li", {}, element("strong", { text: name }), element("span", { class: "grow", text }), edit);
  const edit = (name, open) => button("Edit", () => {
    made.close();
    open(name);
  }, { "aria-label": `Edit ${name}` });
  const fresh = (name, names, open) =>
    name && !names.includes(name.toLowerCase()) ? [row(name.toLowerCase(), "not known yet", edit(name.toLowerCase(), open))] : [];

  async function showWords(text) {
    const found = await get(`${WORDS}?limit=100&search=${encodeURIComponent(text)}`);
    note.textContent = `${found.total} words`;
    const rows = found.words.map((word) =>
      row(word.word, word.meanings.map((meaning) => meaning.text).join("; ") || "left alone", edit(word.word, editWord)));
    return [...fresh(text, found.words.map((word) => word.word), editWord), ...rows];
  }

  async function showEntities(text) {
    const found = await get(`${ENTITIES}?limit=100&search=${encodeURIComponent(text)}`);
    note.textContent = `${found.total} things`;
    const told = (entity) => entity.senses.flatMap((sense) => sense.descriptions).slice(0, 4).join("; ");
    const rows = found.entities.map((entity) => row(entity.entity, told(entity), edit(entity.entity, editEntity)));
    return [...fresh(text, found.entities.map((entity) => entity.entity), editEntity), ...rows];
  }

  async function showHistory() {
    const revisions = await get("/api/v1/knowledge/history?limit=100");
    note.textContent = revisions.length ? "" : "Nothing was changed yet.";
    return revisions.map((revision) => {
      const what = revision.changed === 1 ? revision.entity : `${revision.changed} entries`;
      const undo = async () => {
        try {
          await post("/api/v1/knowledge/undo", { revision: revision.id });
          changed();
          show();
        } catch (problem) {
          note.textContent = problem.message;
        }
      };
      const action = revision.undone_by ? element("span", { class: "note", text: "undone" }) : button("Undo", undo, { "aria-label": `Undo revision ${revision.id}` });
      return row(String(revision.id), `${revision.action} ${what} · ${revision.at}`, action);
    });
  }

  let waiting;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(show, 120);
  });
  made.append(element("div", { class: "tabs" }, ...buttons), search, note, list);
  choose("Words");
  search.focus();
}
