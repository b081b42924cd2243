// Shows openapi.json and lets a person call what it describes. Nothing comes from anywhere else, and
// text from the description or from an answer only ever becomes text, never markup.

import { element, prose } from "./elements.js";
import { tryPanel } from "./try.js";

const EXACT = Number.MAX_SAFE_INTEGER; // beyond it a bound is a store's, and nobody meets it
const METHODS = ["get", "post", "put", "patch", "delete"];

const api = {
  document: {},
  /** What a `$ref` into the document leads to; anything else as it is. */
  resolve(value) {
    if (!value || !value.$ref) return value;
    const path = value.$ref.slice(2).split("/");
    return path.reduce((found, part) => found[part], this.document);
  },
};

function operationsByTag(document) {
  const groups = new Map((document.tags ?? []).map((tag) => [tag.name, { tag, operations: [] }]));
  for (const [path, item] of Object.entries(document.paths)) {
    for (const method of METHODS.filter((name) => name in item)) {
      const operation = { ...item[method], method, path, servers: item.servers };
      const name = operation.tags?.[0] ?? "Other";
      if (!groups.has(name)) groups.set(name, { tag: { name }, operations: [] });
      groups.get(name).operations.push(operation);
    }
  }
  return [...groups.values()].filter((group) => group.operations.length);
}

function methodMark(method) {
  return element("span", { class: `method ${method}` }, method.toUpperCase());
}

function typeOf(schema) {
  schema = api.resolve(schema);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const types = [schema.type ?? []].flat()
    .map((type) => (type === "array" ? `array of ${typeOf(schema.items)}` : type));
  return types.join(" or ") || (schema.anyOf ?? []).map(typeOf).join(" or ") || "any";
}

/** What a schema accepts, in a few words. */
function kindOf(schema) {
  schema = api.resolve(schema);
  const words = [typeOf(schema)];
  words.push(...[schema, ...(schema.anyOf ?? [])].flatMap((each) => each.format ?? []));
  if (schema.enum) words.push(schema.enum.join(" | "));
  if (schema.minimum > -EXACT) words.push(`≥ ${schema.minimum}`);
  if (schema.maximum < EXACT) words.push(`≤ ${schema.maximum}`);
  if (schema.minLength) words.push("not empty");
  if (schema.maxLength) words.push(`at most ${schema.maxLength} characters`);
  if (schema.maxItems) words.push(`at most ${schema.maxItems} items`);
  if (schema.default !== undefined) words.push(`default ${JSON.stringify(schema.default)}`);
  return words.join(", ");
}

function field(name, schema, description, required) {
  return element("div", {},
    element("dt", {},
      element("span", { class: "name" }, name),
      element("span", { class: "kind" }, kindOf(schema)),
      required && element("span", { class: "must" }, "required")),
    element("dd", {}, description && prose(description), ...innerFields(schema)));
}

/** The members of an object, or of the objects in an array. */
function innerFields(schema) {
  const resolved = api.resolve(schema);
  const object = resolved.items ? api.resolve(resolved.items) : resolved;
  const members = Object.entries(object.properties ?? {});
  if (!members.length) return [];
  const required = new Set(object.required ?? []);
  return [element("dl", { class: "fields" },
    ...members.map(([name, member]) =>
      field(name, member, member.description ?? api.resolve(member).description,
        required.has(name))))];
}

function parameterFacts(operation) {
  const titles = { path: "Path", query: "Query", header: "Headers" };
  return Object.entries(titles).flatMap(([place, title]) => {
    const found = (operation.parameters ?? []).map((each) => api.resolve(each))
      .filter((parameter) => parameter.in === place);
    if (!found.length) return [];
    const fields = found.map((each) =>
      field(each.name, each.schema, each.description, each.required));
    return [element("div", {}, element("h4", {}, title),
      element("dl", { class: "fields" }, ...fields))];
  });
}

function bodyFacts(operation) {
  const content = operation.requestBody?.content;
  if (!content) return [];
  const [schema] = Object.values(content).map((media) => media.schema);
  return [element("div", {},
    element("h4", {}, "Body"),
    element("p", { class: "scope" }, prose(api.resolve(schema).description ?? ""), " ",
      Object.keys(content).join(" or ")),
    ...innerFields(schema))];
}

function json(value) {
  return element("pre", { tabindex: "0" },
    typeof value === "string" ? value : JSON.stringify(value, null, 2));
}

function mediaFacts([type, media]) {
  const named = Object.entries(media.examples ?? {}).map(([name, example]) =>
    element("details", {}, element("summary", {}, element("code", {}, name), " ",
      api.resolve(example).summary ?? ""), json(api.resolve(example).value)));
  const parts = named.length ? named : media.example === undefined ? [] : [json(media.example)];
  const schema = media.schema?.contentSchema ?? media.schema; // of the lines, where there are lines
  const fields = named.length || !schema ? [] : innerFields(schema);
  return element("div", {}, element("p", { class: "note mono" }, type), ...parts,
    ...(fields.length ? [element("details", {}, element("summary", {}, "Fields"), ...fields)] : []));
}

function answerFacts([status, answer]) {
  answer = api.resolve(answer);
  const headers = Object.entries(answer.headers ?? {}).map(([name, header]) =>
    field(name, api.resolve(header).schema, api.resolve(header).description, false));
  const content = Object.entries(answer.content ?? {});
  const isFault = status >= "400";
  return element("details", {},
    element("summary", {},
      element("span", { class: `status ${isFault ? "fault" : "fine"}` }, status),
      isFault ? prose(codesIn(answer).map((code) => `\`${code}\``).join(" ")) : answer.description),
    ...(headers.length ? [element("dl", { class: "fields" }, ...headers)] : []),
    ...content.map(mediaFacts));
}

function codesIn(answer) {
  return Object.values(answer.content ?? {}).flatMap((media) => Object.keys(media.examples ?? {}));
}

function operationSection(operation) {
  const scopes = (operation.security ?? []).flatMap((each) => Object.values(each).flat());
  return element("section", { class: "operation", id: operation.operationId },
    element("header", {},
      element("h3", {}, operation.summary),
      element("div", { class: "signature" }, methodMark(operation.method),
        element("code", {}, operation.path)),
      prose(operation.description ?? "", "p"),
      element("p", { class: "scope" }, scopes.length
        ? prose(`Scope ${scopes.map((scope) => `\`${scope}\``).join(", ")}.`) : "No token needed.")),
    element("div", { class: "facts" },
      ...parameterFacts(operation), ...bodyFacts(operation),
      element("div", {}, element("h4", {}, "Answers"),
        ...Object.entries(operation.responses).map(answerFacts))),
    tryPanel(operation, api));
}

function problemSection(document) {
  const examples = Object.entries(document.components?.examples ?? {});
  const problems = examples.filter(([, example]) => example.value?.code)
    .sort(([, one], [, other]) => one.value.status - other.value.status);
  return element("section", { class: "group", id: "problems" },
    element("h2", {}, "Problems"),
    prose("Errors are `application/problem+json` (RFC 9457). The `code` never changes.", "p"),
    element("div", { class: "problems" }, ...problems.map(([code, example]) =>
      element("div", { id: `problem-${code}` },
        element("span", { class: "mono fault" }, String(example.value.status)), " ",
        element("code", {}, code), element("br"), example.summary))));
}

function indexOf(groups) {
  const lists = groups.flatMap(({ tag, operations }) => [
    element("h2", {}, tag.name),
    element("ul", {}, ...operations.map((operation) => element("li", {},
      element("a", { href: `#${operation.operationId}` },
        methodMark(operation.method), operation.summary)))),
  ]);
  const more = [["#problems", "Problems"], ["openapi.json", "openapi.json"],
    ["asyncapi.json", "asyncapi.json"], ["schemas/", "Event schemas"]];
  return [...lists, element("h2", {}, "More"),
    element("ul", {}, ...more.map(([href, text]) =>
      element("li", {}, element("a", { href }, text))))];
}

/** The token lives in this tab's session storage and in the header of calls, nowhere else. */
function prepareCredentials(document) {
  const token = globalThis.document.getElementById("token");
  const reveal = globalThis.document.getElementById("reveal");
  const server = globalThis.document.getElementById("server");
  server.append(...(document.servers ?? [{ url: "/" }]).map(({ url }) =>
    element("option", { value: url.replace(/\/$/, "") }, url)));
  token.value = sessionStorage.getItem("token") ?? "";
  token.addEventListener("input", () => sessionStorage.setItem("token", token.value));
  reveal.addEventListener("click", () => {
    const isShown = token.type === "password";
    token.type = isShown ? "text" : "password";
    reveal.setAttribute("aria-pressed", String(isShown));
    reveal.textContent = isShown ? "Hide" : "Show";
  });
  globalThis.document.getElementById("credentials")
    .addEventListener("submit", (event) => event.preventDefault());
}

function show(document) {
  api.document = document;
  const groups = operationsByTag(document);
  prepareCredentials(document);
  globalThis.document.getElementById("title").textContent = document.info.title;
  globalThis.document.getElementById("index").replaceChildren(...indexOf(groups));
  globalThis.document.getElementById("content").replaceChildren(
    element("h1", {}, document.info.title),
    prose(document.info.description ?? "", "p"),
    ...groups.map(({ tag, operations }) => element("section", { class: "group" },
      element("h2", {}, tag.name), prose(tag.description ?? "", "p"),
      ...operations.map(operationSection))),
    problemSection(document));
  if (location.hash) globalThis.document.querySelector(location.hash)?.scrollIntoView({ behavior: "instant" });
}

try {
  const answer = await fetch("openapi.json");
  show(await answer.json());
} catch {
  document.getElementById("loading").textContent = "The description of the API cannot be read.";
}
