// One picture, large: its neighbours by the arrow keys, and why it was found.

import { button, dialog, element, fileName } from "./elements.js";
import { likely } from "./grid.js";
import { original, post, thumbnail } from "./requests.js";
import { state } from "./state.js";

/** Opens the picture at a position of a grid. */
export function openViewer(grid, position, actions) {
  let at = position;
  const name = () => fileName(grid.hits[at].path);
  const step = (way) => {
    if (!grid.hits[at + way]) return;
    at += way;
    show();
    if (at > grid.hits.length - 10) grid.more();
  };
  const act = (action) => () => {
    made.close();
    actions[action](grid.hits[at]);
  };
  const heat = button("Why", () => explain());
  const made = dialog(name(), {
    bar: [
      button("←", () => step(-1), { "aria-label": "Previous" }),
      button("→", () => step(1), { "aria-label": "Next" }),
      heat,
      button("✓ Right", act("right")),
      button("✗ Wrong", act("wrong")),
      button("≈ More like this", act("similar")),
    ],
  });
  const picture = element("img", { class: "picture" });
  const details = element("p", { class: "note" });
  const place = element("div", { class: "sides", "aria-live": "polite" });
  made.append(picture, details, place);

  function show() {
    const hit = grid.hits[at];
    made.querySelector("h2").textContent = name();
    made.setAttribute("aria-label", name());
    picture.src = thumbnail(hit.id, 1024);
    picture.alt = name();
    const link = element("a", { href: original(hit.id), target: "_blank", rel: "noopener", text: hit.path });
    const taken = hit.taken_at === null ? "" : `${new Date(1000 * hit.taken_at).toISOString().slice(0, 10)} · `;
    details.replaceChildren(`Number ${at + 1} · ${likely(hit)} · ${taken}${hit.width} × ${hit.height} · `, link);
    place.replaceChildren();
    heat.hidden = !state.query;
  }

  async function explain() {
    if (!state.query) return;
    const { id } = grid.hits[at];
    place.replaceChildren(element("p", { class: "note", text: "Looking at the picture’s pixels …" }));
    try {
      const enhancer = state.rewriting ? undefined : "identity";
      const explained = await post("/api/v1/explain", { query: state.query, id, enhancer });
      if (grid.hits[at].id === id) place.replaceChildren(...explained.sides.map(side));
    } catch (problem) {
      place.replaceChildren(element("p", { class: "note", text: problem.message }));
    }
  }

  made.addEventListener("keydown", (event) => {
    const keys = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), h: explain };
    if (event.key in keys) {
      keys[event.key]();
      event.preventDefault();
    } else if (event.key === " " || event.key === "f") {
      made.close();
      event.preventDefault();
    }
  });
  made.addEventListener("close", () => grid.list.querySelectorAll(".open")[at]?.focus());
  show();
}

/** A heat map, and the words of the text that it is for. */
function side({ text, score, words, heat }) {
  const largest = Math.max(...words.map((word) => Math.abs(word.value)), 1e-9);
  const spans = words.map(({ word, value }) => {
    const strong = Math.abs(value) > 0.15 * largest;
    const kind = strong ? (value > 0 ? " for" : " against") : "";
    return element("span", { class: `word${kind}`, text: word, title: value.toFixed(4) });
  });
  const caption = element("figcaption", {}, `${score.toFixed(3)} `, ...spans.flatMap((span) => [span, " "]));
  return element("figure", {}, element("img", { src: `data:image/png;base64,${heat}`, alt: `Warm where the picture speaks for: ${text}` }), caption);
}
