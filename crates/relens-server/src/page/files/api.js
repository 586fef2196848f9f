// The description of the interface, as a page.

import { element } from "./elements.js";
import { get } from "./requests.js";

/** A schema in a line: its name, or what it is made of. */
function named(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.oneOf) return schema.oneOf.map(named).filter((name) => name !== "null").join(" or ");
  const type = Array.isArray(schema.type) ? schema.type.find((kind) => kind !== "null") : schema.type;
  return type === "array" ? `list of ${named(schema.items)}` : (type ?? "any");
}

function fields(schema, schemas) {
  const found = schema?.$ref ? schemas[named(schema)] : schema;
  const rows = Object.entries(found?.properties ?? {}).map(([name, property]) => {
    const needed = found.required?.includes(name) ? "" : "?";
    return element("li", {}, element("code", { text: `${name}${needed}` }), element("span", { class: "note", text: named(property) }),
      element("span", { class: "grow", text: property.description ?? "" }));
  });
  return rows.length ? element("ul", { class: "rows" }, ...rows) : null;
}

function operation(path, method, described, schemas) {
  const body = described.requestBody?.content?.["application/json"]?.schema;
  const answer = described.responses?.["200"];
  const parameters = (described.parameters ?? []).map((parameter) =>
    element("li", {}, element("code", { text: parameter.name }), element("span", { class: "note", text: `in ${parameter.in}` }),
      element("span", { class: "grow", text: parameter.description ?? "" })));
  const schema = answer?.content?.["application/json"]?.schema;
  return element("details", { class: "operation" },
    element("summary", {}, element("span", { class: "method", text: method }), element("code", { text: path }), ` ${described.summary ?? ""}`),
    parameters.length ? element("ul", { class: "rows" }, ...parameters) : null,
    body ? element("p", { text: `Request: ${named(body)}` }) : null, fields(body, schemas),
    element("p", { text: `Answer: ${answer?.description ?? ""} ${named(schema)}` }), fields(schema, schemas));
}

const place = document.getElementById("operations");
try {
  const description = await get("/api/v1/openapi.json");
  const schemas = description.components?.schemas ?? {};
  const all = Object.entries(description.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, described]) => operation(path, method, described, schemas)));
  place.replaceChildren(...all);
} catch (problem) {
  place.replaceChildren(element("p", { class: "note", text: problem.message }));
}
