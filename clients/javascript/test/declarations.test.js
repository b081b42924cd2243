// The declarations for TypeScript, and the README, against the code.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Commerce, CommerceError } from "../index.js";
import * as index from "../index.js";
import { Customers } from "../source/customers.js";
import { Events, Feed, PARAMETERS } from "../source/events.js";
import { CLIENT, CREATE, READ, WRITE } from "../source/options.js";
import { TOKEN } from "./support/stub.js";

const text = (name) => readFileSync(new URL(`../${name}`, import.meta.url), "utf8");
const DECLARED = text("index.d.ts").replace(/\/\*\*.*?\*\//gs, "");

/** The lines between the braces of a class or an interface, without those of its parents. */
function bodyOf(name) {
  const found = DECLARED.match(
    new RegExp(`^export (?:class|interface) ${name}\\b.*?\\{\\n(.*?)^\\}`, "ms"),
  );
  assert.ok(found, name);
  return found[1];
}

/** By method, how many of its parameters must be given. */
function declaredMethods(name) {
  const found = bodyOf(name).matchAll(/^ {2}(\w+)\(([^)]*)\): /gm);
  return Object.fromEntries(
    [...found].map(([, method, parameters]) => [method, parameters.match(/\w+: /g)?.length ?? 0]),
  );
}

const declaredFields = (name) =>
  [...bodyOf(name).matchAll(/^ {2}(?:readonly )?(\w+)\??: /gm)].map(([, field]) => field);

const methods = ({ prototype }) => {
  const names = Object.getOwnPropertyNames(prototype).filter((name) => name !== "constructor");
  return Object.fromEntries(names.map((name) => [name, prototype[name].length]));
};

const getters = ({ prototype }) =>
  Object.entries(Object.getOwnPropertyDescriptors(prototype))
    .filter(([, { get }]) => get)
    .map(([name]) => name);

test("every method is declared with what it needs, and no other is", () => {
  for (const type of [Customers, Events]) {
    const declared = declaredMethods(type.name);
    assert.ok(Object.keys(declared).length > 0);
    assert.deepEqual(declared, methods(type));
  }
});

test("every member is declared, and no other is", () => {
  const commerce = new Commerce({ apiKey: TOKEN });
  const members = [...Object.keys(commerce), ...getters(Commerce)];
  assert.deepEqual(declaredFields("Commerce").sort(), members.sort());
  assert.deepEqual(declaredFields("Feed").sort(), getters(Feed).sort());
  const error = new CommerceError("text", { code: "some_code" });
  assert.deepEqual(declaredFields("CommerceError").sort(), Object.keys(error).sort());
});

test("every option is declared, and no other is", () => {
  assert.deepEqual(declaredFields("CommerceOptions"), CLIENT);
  const read = declaredFields("ReadOptions");
  const create = [...read, ...declaredFields("CreateOptions")];
  const write = [...create, ...declaredFields("WriteOptions")];
  assert.deepEqual([read, create, write], [READ, CREATE, WRITE]);
  assert.deepEqual(declaredFields("FeedParameters").sort(), [...PARAMETERS].sort());
});

test("what is exported is declared as a class, and no other is", () => {
  const classes = [...DECLARED.matchAll(/^export class (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(classes.sort(), Object.keys(index).sort());
});

test("the README names every method, option and member of an error", () => {
  const readme = text("README.md");
  const names = [...Object.keys(methods(Customers)), ...CLIENT, ...WRITE];
  const members = Object.keys(new CommerceError("text", { code: "some_code" }));
  const missing = [...names, ...members].filter(
    (name) => !new RegExp(`\`[^\`]*\\b${name}\\b`).test(readme),
  );
  assert.deepEqual(missing, []);
});

test("the package holds what it exports, and needs nothing", () => {
  const { exports, files, dependencies, type } = JSON.parse(text("package.json"));
  assert.deepEqual([dependencies, type], [undefined, "module"]);
  for (const path of Object.values(exports["."])) {
    assert.ok(files.includes(path.replace("./", "")), path);
    assert.ok(text(path));
  }
});
