// Which pictures are looked among, beside what they show.

import { element } from "./elements.js";
import { get } from "./requests.js";
import { FILTERS, change, state } from "./state.js";

const form = document.getElementById("filters");
const opener = document.getElementById("filtering");
const active = () => Object.keys(state.filters).length + Number(state.fitting);

/** Shows the conditions of the state. */
export function showFilters() {
  for (const name of FILTERS) {
    const field = form.elements[name];
    // A year or a month in the address is the first day of it in the field.
    const value = state.filters[name] ?? "";
    const shown = field.type === "date" && value ? value + "-01-01".slice(value.length - 4) : value;
    if (document.activeElement !== field) field.value = shown;
  }
  form.elements.fitting.checked = state.fitting;
  opener.textContent = active() ? `Filters (${active()})` : "Filters";
}

function open(shown) {
  form.hidden = !shown;
  opener.setAttribute("aria-expanded", String(shown));
  if (shown) listFolders();
}

let listed = false;

/** Offers the library's folders. */
async function listFolders() {
  if (listed) return;
  listed = true;
  try {
    const { folders } = await get("/api/v1/library");
    document.getElementById("folders").replaceChildren(...folders.map((path) => element("option", { value: path })));
  } catch {
    // Without a library there are none to offer.
  }
}

function take() {
  const filled = FILTERS.filter((name) => form.elements[name].value.trim());
  const filters = Object.fromEntries(filled.map((name) => [name, form.elements[name].value.trim()]));
  change({ filters, fitting: form.elements.fitting.checked });
}

opener.addEventListener("click", () => open(form.hidden));
form.addEventListener("change", take);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  take();
});
form.addEventListener("reset", () => change({ filters: {}, fitting: false }));
open(active() > 0);
