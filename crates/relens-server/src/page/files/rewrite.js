// What is searched for, under the field: every word that was touched is marked, says why, and can be left alone.

import { button, dialog, element } from "./elements.js";
import { change, picture, state } from "./state.js";
import { thumbnail } from "./requests.js";
import { editEntity, editWord } from "./knowledge.js";

/** Why a step was made, in a sentence. */
function why(step) {
  switch (step.step) {
    case "replaced":
      return step.to ? `“${step.from}” became “${step.to}”` : `“${step.from}” was left out`;
    case "reworded": {
      const often = step.seen === 1 ? "once" : `${step.seen} times`;
      return `“${step.from}” became “${step.to}”, which the captions that the model learned from use ${often}`;
    }
    case "entity_found": {
      const sense = step.sense ? ` (${step.sense})` : "";
      return `“${step.surface}” is ${step.entity}${sense}: ${step.descriptions.join("; ")}`;
    }
    case "excluded":
      return `Pictures of “${step.text}” are moved down`;
    case "text_added":
      return `“${step.text}” was added by ${step.source}`;
    default:
      return step.reason ? `Kept as it is: ${step.reason}` : "";
  }
}

/** The words that a step touched, as they were typed. */
const touchedBy = (step) => step.from ?? step.surface ?? (step.step === "excluded" ? step.text : null);

/** The query in pieces: plain text, and touched words with their steps. */
function pieces(query, steps) {
  const lower = query.toLowerCase();
  const found = [];
  for (const step of steps) {
    const words = touchedBy(step);
    const start = words ? lower.indexOf(words.toLowerCase()) : -1;
    if (start >= 0) found.push({ start, end: start + words.length, words: query.slice(start, start + words.length), steps: [step] });
  }
  for (const words of state.keep) {
    const start = lower.indexOf(words.toLowerCase());
    if (start >= 0) found.push({ start, end: start + words.length, words, steps: [], off: true });
  }
  found.sort((one, other) => one.start - other.start || other.end - one.end);
  const result = [];
  let at = 0;
  for (const piece of found) {
    const last = result.at(-1);
    if (piece.start < at) {
      if (last?.steps) last.steps.push(...piece.steps);
      continue;
    }
    if (piece.start > at) result.push({ text: query.slice(at, piece.start) });
    result.push(piece);
    at = piece.end;
  }
  if (at < query.length) result.push({ text: query.slice(at) });
  return result;
}

/** Shows what became of the query, and the pictures that count beside it. */
export function showRewrite(place, rewrite) {
  place.replaceChildren();
  if (rewrite) {
    const steps = rewrite.trace.filter((step) => touchedBy(step));
    if (steps.length || state.keep.length) {
      const line = pieces(rewrite.query, steps).map((piece) => (piece.steps ? mark(piece) : document.createTextNode(piece.text)));
      place.append(element("p", { class: "typed" }, ...line));
    }
    const sent = rewrite.texts.filter((text) => text.weight > 0);
    if (sent.length > 1 || sent[0]?.text !== rewrite.query) {
      const all = sent.reduce((sum, text) => sum + text.weight, 0);
      for (const text of sent) {
        const share = `${Math.round((100 * text.weight) / all)} %`;
        place.append(element("p", { class: "sent" }, element("span", { class: "weight", text: share }), text.text));
      }
    }
    for (const text of rewrite.texts.filter((text) => text.weight < 0)) {
      place.append(element("p", { class: "sent" }, element("span", { class: "weight", text: "without" }), text.text));
    }
    if (rewrite.language) {
      const read = rewrite.trace.some((step) => step.step === "read_word_by_word");
      const told = read ? " and was read word by word" : ", which few models read as well as English";
      place.append(element("p", { class: "note", text: `This looks like ${rewrite.language}${told}.` }));
    }
  }
  const chips = [
    ...(picture ? [chip(picture, "Picture", () => change({ picture: null }))] : []),
    ...state.like.map((id) => chip(thumbnail(id, 128), "Like this", () => change({ like: state.like.filter((other) => other !== id) }))),
    ...state.unlike.map((id) => chip(thumbnail(id, 128), "Unlike this", () => change({ unlike: state.unlike.filter((other) => other !== id) }))),
  ];
  if (chips.length) place.append(element("div", { class: "chips" }, ...chips));
}

function chip(source, text, drop) {
  const picture = element("img", { src: source, alt: "" });
  return element("button", { type: "button", class: "chip", "aria-label": `${text}: remove`, onclick: drop }, picture, `${text} ✕`);
}

function mark(piece) {
  const reasons = piece.off ? "Left alone in this search" : piece.steps.map(why).join("\n");
  return button(piece.words, () => explain(piece), {
    class: piece.off ? "touched off" : "touched", title: reasons, "aria-haspopup": "dialog",
  });
}

/** Why a word was touched, and what can be done about it. */
function explain(piece) {
  const made = dialog(piece.words, { small: true });
  if (piece.off) made.append(element("p", { text: "Left alone in this search." }));
  made.append(element("ul", {}, ...piece.steps.map((step) => element("li", { text: why(step) }))));
  const close = (action) => () => {
    made.close();
    action();
  };
  const actions = [];
  if (piece.off) {
    const others = state.keep.filter((word) => word.toLowerCase() !== piece.words.toLowerCase());
    actions.push(button("Rewrite it again", close(() => change({ keep: others })), { class: "primary" }));
  } else {
    actions.push(button("Leave it alone", close(() => change({ keep: [...state.keep, piece.words] })), { class: "primary" }));
  }
  const entity = piece.steps.find((step) => step.step === "entity_found");
  if (entity) actions.push(button(`Edit ${entity.entity}`, close(() => editEntity(entity.entity))));
  actions.push(button("Edit what it means", close(() => editWord(piece.words.toLowerCase()))));
  made.append(element("div", { class: "bar" }, ...actions));
}
