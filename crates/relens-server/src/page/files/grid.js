// Pictures in a grid that goes on as one scrolls, with what rose and fell since the last answer.

import { button, element, fileName } from "./elements.js";
import { archive, thumbnail } from "./requests.js";

/** Pictures of one request. */
const PAGE = 60;

/** A list of pictures. `search(offset, k)` asks for more; `actions` has what can be done with a picture. Several can be
 * selected: with Ctrl or ⌘ one by one, with Shift up to the last, with `x` by the keyboard. */
export class Grid {
  constructor(search, actions, label) {
    this.search = search;
    this.actions = actions;
    this.hits = [];
    this.done = false;
    this.selected = new Set();
    this.list = element("ol", { class: "grid", "aria-label": label });
    this.end = element("div");
    this.chosen = element("div", { class: "chosen", role: "status" });
    this.place = element("div", {}, this.list, this.end, this.chosen);
    this.observer = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) this.more();
    }, { rootMargin: "600px" });
    this.list.addEventListener("keydown", (event) => this.key(event));
  }

  /** Shows an answer; `before` has the ranks that pictures had, if they can be compared. */
  show(answer, before = null, judged = new Map()) {
    const places = new Map([...this.list.children].map((tile) => [tile.dataset.id, tile.getBoundingClientRect()]));
    this.hits = answer.hits;
    this.total = answer.total;
    this.done = answer.hits.length < PAGE;
    this.judged = judged;
    this.line = null;
    this.selected.clear();
    this.showSelected();
    const focused = this.list.contains(document.activeElement) ? document.activeElement.closest(".tile")?.dataset.id : undefined;
    this.list.replaceChildren(...this.tiles(answer, 0, before));
    // Who moves by the keyboard stays at the picture where they were, wherever it is now.
    if (focused) (this.list.querySelector(`[data-id="${focused}"] .open`) ?? this.list.querySelector(".open"))?.focus();
    if (before) this.animate(places);
    this.observer.observe(this.end);
  }

  /** The rank of every picture that is shown. */
  ranks() {
    return new Map(this.hits.map((hit, rank) => [hit.id, rank]));
  }

  async more() {
    if (this.done || this.loading || !this.hits.length) return;
    this.loading = true;
    const shown = this.hits;
    try {
      const answer = await this.search(shown.length, PAGE);
      // Another answer may have come meanwhile.
      if (shown !== this.hits || !answer) return;
      this.done = answer.hits.length < PAGE;
      const first = shown.length;
      shown.push(...answer.hits);
      this.list.append(...this.tiles(answer, first, null));
    } catch {
      this.done = true;
    } finally {
      this.loading = false;
    }
  }

  /** The tiles of a page, with the line among them below which probably nothing fits. */
  tiles(answer, first, before) {
    const tiles = answer.hits.map((hit, rank) => this.tile(hit, first + rank, before));
    if (this.line === null && answer.line !== null) {
      this.line = answer.line;
      const at = Math.max(0, answer.line - first);
      const text = answer.line === 0 ? "Probably none of these fits" : "Below this line probably nothing fits";
      tiles.splice(at, 0, element("li", { class: at ? "line" : "line first", text }));
    }
    return tiles;
  }

  tile(hit, rank, before) {
    const name = fileName(hit.path);
    const picture = element("img", { src: thumbnail(hit.id), alt: name, loading: rank < 24 ? "eager" : "lazy", decoding: "async" });
    const open = element("button", {
      type: "button", class: "open", title: `${name} — ${likely(hit)}`, "aria-label": `${rank + 1}. ${name}`,
      onclick: (event) => {
        if (event.shiftKey) this.selectUpTo(hit.id);
        else if (event.ctrlKey || event.metaKey) this.select(hit.id);
        else this.actions.open(this, this.position(hit.id));
      },
    }, picture);
    const judged = this.judged.get(hit.id);
    const act = (sign, label, name, pressed) =>
      button(sign, () => this.actions[name](hit), { "aria-label": `${label}: ${fileName(hit.path)}`, title: label, "aria-pressed": pressed });
    const actions = element("div", { class: "actions" },
      act("✓", "Right", "right", String(judged === true)),
      act("✗", "Wrong", "wrong", String(judged === false)),
      act("≈", "More like this", "similar"));
    const marks = judged === undefined ? "" : judged ? " judged right" : " judged wrong";
    return element("li", { class: `tile${marks}`, "data-id": hit.id }, open, actions, moved(hit.id, rank, before));
  }

  /** Selects a picture, or takes it out of the selection. */
  select(id) {
    if (!this.selected.delete(id)) this.selected.add(id);
    this.last = id;
    this.showSelected();
  }

  /** Selects all pictures from the one that was selected last. */
  selectUpTo(id) {
    const [one, other] = [this.position(this.last ?? id), this.position(id)];
    const [first, last] = [Math.max(0, Math.min(one, other)), Math.max(one, other)];
    for (const hit of this.hits.slice(first, last + 1)) this.selected.add(hit.id);
    this.last = id;
    this.showSelected();
  }

  showSelected() {
    for (const tile of this.list.children) tile.classList.toggle("selected", this.selected.has(Number(tile.dataset.id)));
    const count = this.selected.size;
    if (!count) return this.chosen.replaceChildren();
    const drop = () => {
      this.selected.clear();
      this.showSelected();
    };
    this.chosen.replaceChildren(`${count} selected `,
      element("a", { class: "button primary", href: archive([...this.selected]), download: "relens.zip", text: "Download" }),
      button("Select none", drop));
  }

  position(id) {
    return this.hits.findIndex((hit) => hit.id === id);
  }

  /** Tiles travel from where they were. */
  animate(places) {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    for (const tile of this.list.children) {
      const from = places.get(tile.dataset.id);
      if (!from) continue;
      const to = tile.getBoundingClientRect();
      const way = `translate(${from.left - to.left}px, ${from.top - to.top}px)`;
      tile.animate([{ transform: way }, { transform: "none" }], { duration: 350, easing: "ease-out" });
    }
  }

  key(event) {
    const tiles = [...this.list.querySelectorAll(".open")];
    const at = tiles.indexOf(document.activeElement);
    if (at < 0) return;
    const across = Math.max(1, getComputedStyle(this.list).gridTemplateColumns.split(" ").length);
    const ways = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across };
    const hit = this.hits[at];
    if (event.key in ways) tiles[at + ways[event.key]]?.focus();
    else if (event.key === "Home") tiles[0].focus();
    else if (event.key === "End") tiles.at(-1).focus();
    else if (event.key === "r") this.actions.right(hit);
    else if (event.key === "w") this.actions.wrong(hit);
    else if (event.key === "m") this.actions.similar(hit);
    else if (event.key === "x") this.select(hit.id);
    else return;
    event.preventDefault();
  }
}

/** How well a picture fits, in words. */
export function likely(hit) {
  if (hit.fits === null || hit.fits === undefined) return hit.score.toFixed(3);
  return `fits with ${Math.round(100 * hit.fits)} %`;
}

/** What says how far a picture rose or fell. */
function moved(id, rank, before) {
  if (!before) return null;
  const was = before.get(id);
  if (was === rank) return null;
  if (was === undefined) return element("span", { class: "moved rise", text: "new" });
  const way = was > rank ? "rise" : "fall";
  const text = `${way === "rise" ? "▲" : "▼"} ${Math.abs(was - rank)}`;
  return element("span", { class: `moved ${way}`, text, title: `was number ${was + 1}` });
}

export { PAGE };
