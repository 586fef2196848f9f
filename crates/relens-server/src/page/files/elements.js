// Elements without markup: what is typed or read from files becomes text or an attribute, never HTML.

/** An element with properties (`class`, `text`, `on…` and attributes) and children. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") made.textContent = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A button; `label` says to a screen reader what a sign stands for. */
export function button(text, action, properties = {}) {
  return element("button", { type: "button", text, onclick: action, ...properties });
}

/** A dialog that is gone once it is closed. */
export function dialog(title, { small = false, bar = [] } = {}) {
  const made = element("dialog", { class: small ? "small" : null, "aria-label": title });
  const heading = element("h2", { text: title });
  made.append(element("div", { class: "bar" }, heading, ...bar, button("✕", () => made.close(), { "aria-label": "Close" })));
  made.addEventListener("close", () => made.remove());
  made.addEventListener("click", (event) => {
    if (event.target === made) made.close();
  });
  document.body.append(made);
  made.showModal();
  return made;
}

/** The last part of a path. */
export function fileName(path) {
  return path.split(/[\\/]/).pop();
}
