// The form beside an operation: it calls the API, shows the answer and the same call for curl.

import { element } from "./elements.js";

const JSON_TYPE = /[/+]json\b/;
let fieldCount = 0;

function labelled(name, control, isTall) {
  const id = `field-${(fieldCount += 1)}`;
  control.id = id;
  return element("div", { class: isTall ? "tall" : "field" },
    element("label", { for: id }, name), control);
}

function exampleOf(parameter) {
  const schema = parameter.schema ?? {};
  const example = parameter.example ?? schema.examples?.[0] ?? schema.default ?? "";
  return [example].flat().join(",");
}

/** What is required stands there to be edited; what is optional only shows how it looks. */
function parameterControl(parameter) {
  const example = exampleOf(parameter);
  const isPath = parameter.in === "path";
  const control = element("input", {
    autocomplete: "off", spellcheck: "false", required: isPath,
    placeholder: isPath ? undefined : example,
  });
  if (isPath) control.value = example;
  return control;
}

function parameterFields(operation, api) {
  return (operation.parameters ?? []).map((each) => {
    const parameter = api.resolve(each);
    return { parameter, control: parameterControl(parameter) };
  });
}

function bodyFields(operation) {
  const content = Object.entries(operation.requestBody?.content ?? {});
  if (!content.length) return null;
  const [[, media]] = content;
  const text = JSON.stringify(media.example ?? {}, null, 2);
  const area = element("textarea", { spellcheck: "false", rows: text.split("\n").length + 1 });
  area.value = text;
  const type = element("select", {}, ...content.map(([name]) => element("option", {}, name)));
  return { area, type };
}

/** The call as the form says it now. */
function callOf(operation, fields, body) {
  const values = fields.filter(({ control }) => control.value !== "");
  const at = (place) => values.filter(({ parameter }) => parameter.in === place);
  let path = operation.path;
  for (const { parameter, control } of at("path")) {
    path = path.replace(`{${parameter.name}}`, encodeURIComponent(control.value));
  }
  const query = new URLSearchParams(at("query").flatMap(({ parameter, control }) => {
    const isList = parameter.schema?.type === "array";
    const all = isList ? control.value.split(",") : [control.value];
    return all.map((value) => [parameter.name, value]);
  })).toString();
  const headers = Object.fromEntries(
    at("header").map(({ parameter, control }) => [parameter.name, control.value]));
  if (body) headers["Content-Type"] = body.type.value;
  const base = operation.servers ? "" : document.getElementById("server").value;
  const url = new URL(`.${base}${path}${query && `?${query}`}`, new URL(".", location.href));
  return { url, method: operation.method.toUpperCase(), headers, body: body?.area.value };
}

function quoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** The token is named, not shown: `TOKEN=… ` in the shell fills it in. */
function curlOf({ url, method, headers, body }, needsToken) {
  const words = [`curl ${method === "GET" ? "" : `-X ${method} `}${quoted(url.href)}`];
  if (needsToken) words.push('-H "Authorization: Bearer $TOKEN"');
  for (const [name, value] of Object.entries(headers)) words.push(`-H ${quoted(`${name}: ${value}`)}`);
  if (body !== undefined) words.push(`-d ${quoted(body)}`);
  return words.join(" \\\n  ");
}

function shownBody(text, type) {
  if (!JSON_TYPE.test(type)) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

async function answerTo({ url, method, headers, body }, needsToken) {
  const token = document.getElementById("token").value.trim();
  const authorization = needsToken && token ? { Authorization: `Bearer ${token}` } : {};
  const started = performance.now();
  const answer = await fetch(url, {
    method, body, headers: { ...headers, ...authorization }, credentials: "omit", cache: "no-store",
  });
  const text = await answer.text();
  const lines = [...answer.headers].map(([name, value]) => `${name}: ${value}`);
  return {
    line: `${answer.status} ${answer.statusText}`, isFine: answer.ok || answer.status === 304,
    took: `${Math.round(performance.now() - started)} ms`, headers: lines.join("\n"),
    body: shownBody(text, answer.headers.get("Content-Type") ?? ""),
  };
}

function shown(answer) {
  return [
    element("div", {},
      element("span", { class: `status ${answer.isFine ? "fine" : "fault"}` }, answer.line), " ",
      element("span", { class: "note" }, answer.took)),
    element("details", {}, element("summary", {}, "Headers"),
      element("pre", { class: "wrap", tabindex: "0" }, answer.headers)),
    ...(answer.body ? [element("pre", { class: "wrap", tabindex: "0" }, answer.body)] : []),
  ];
}

export function tryPanel(operation, api) {
  const fields = parameterFields(operation, api);
  const body = bodyFields(operation);
  const needsToken = (operation.security ?? []).length > 0;
  const send = element("button", { class: "primary", type: "submit" }, "Send");
  const copy = element("button", { type: "button" }, "Copy curl");
  const curl = element("pre", { class: "wrap", tabindex: "0", "aria-label": "The same with curl" });
  const answer = element("div", { class: "answer", role: "status" });
  const call = () => callOf(operation, fields, body);
  const refresh = () => { curl.textContent = curlOf(call(), needsToken); };

  const form = element("form", { autocomplete: "off" },
    ...fields.map(({ parameter, control }) => labelled(parameter.name, control)),
    ...(body ? [labelled("Content-Type", body.type), labelled("Body", body.area, true)] : []),
    element("div", { class: "actions" }, send, copy), curl);
  form.addEventListener("input", refresh);
  document.getElementById("server").addEventListener("change", refresh);
  copy.addEventListener("click", async () => {
    getSelection().selectAllChildren(curl);
    await navigator.clipboard?.writeText(curl.textContent); // none on an insecure origin
    copy.textContent = navigator.clipboard ? "Copied" : "Selected";
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    try {
      answer.replaceChildren(...shown(await answerTo(call(), needsToken)));
    } catch {
      answer.replaceChildren(element("span", { class: "fault" }, "No answer came."));
    } finally {
      send.disabled = false;
    }
  });
  queueMicrotask(refresh);
  return element("aside", { class: "try", "aria-label": `Try: ${operation.summary}` },
    element("h4", {}, "Try it"), form, answer);
}
