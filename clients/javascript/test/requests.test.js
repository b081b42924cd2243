// What is sent: options, paths, queries, bodies, conditions; and what is remembered of answers.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Commerce } from "../index.js";
import { randomKey } from "../source/random_key.js";
import { calling, LIMIT, serving, TOKEN } from "./support/stub.js";

for (const [given, said] of [
  [undefined, /^Options are missing/],
  [null, /^Options are missing/],
  ["ctk_secret", /^Options are missing/],
  [{}, /apiKey must be the token/],
  [{ apiKey: "" }, /apiKey must be/],
  [{ apiKey: 7 }, /apiKey must be/],
  [{ apiKey: TOKEN, baseURL: "http://h" }, /no option baseURL, only apiKey, baseUrl/],
  [{ apiKey: TOKEN, baseUrl: "h:80" }, /baseUrl must be/],
  [{ apiKey: TOKEN, baseUrl: "/user" }, /baseUrl must be/],
  [{ apiKey: TOKEN, baseUrl: "http://a:b@h" }, /baseUrl must be/],
  [{ apiKey: TOKEN, baseUrl: "http://h/?a=1" }, /baseUrl must be/],
  [{ apiKey: TOKEN, timeoutMilliseconds: 0 }, /timeoutMilliseconds must be/],
  [{ apiKey: TOKEN, timeoutMilliseconds: 2 ** 31 }, /timeoutMilliseconds must be/],
  [{ apiKey: TOKEN, timeoutMilliseconds: "9" }, /timeoutMilliseconds must be/],
  [{ apiKey: TOKEN, attemptsMax: 0 }, /attemptsMax must be/],
  [{ apiKey: TOKEN, attemptsMax: 1.5 }, /attemptsMax must be/],
  [{ apiKey: TOKEN, fetch: "fetch" }, /fetch must be a function/],
  [{ key: 1, attemptsMax: 0 }, /apiKey must.*attemptsMax must.*no option key/],
]) {
  test(`options ${JSON.stringify(given)} are refused in a sentence`, () => {
    assert.throws(
      () => new Commerce(given),
      (error) => {
        assert.ok(error instanceof TypeError);
        assert.match(error.message, said);
        assert.ok(!error.message.includes(TOKEN));
        return true;
      },
    );
  });
}

test("options that are undefined are absent", () => {
  assert.ok(new Commerce({ apiKey: TOKEN, baseUrl: undefined, fetch: undefined }));
});

for (const [options, said] of [
  [{ ifmatch: 7 }, /no option ifmatch, only signal/],
  [{ ifMatch: '"7"' }, /ifMatch must be/],
  [{ ifMatch: 0 }, /ifMatch must be/],
  [{ idempotencyKey: "" }, /idempotencyKey must be/],
  [{ idempotencyKey: "k".repeat(256) }, /idempotencyKey must be/],
  [{ idempotencyKey: "é" }, /idempotencyKey must be/],
  [{ signal: 7 }, /signal must be/],
  [{ timeoutMilliseconds: -1 }, /timeoutMilliseconds must be/],
  [null, /must be an object/],
]) {
  test(
    `options ${JSON.stringify(options)} of a call are refused, and nothing is sent`,
    LIMIT,
    async (t) => {
      const server = await serving(t);
      await assert.rejects(calling(server).customers.update("cust_1", {}, options), (error) => {
        assert.ok(error instanceof TypeError);
        return said.test(error.message);
      });
      assert.equal(server.requests.length, 0);
    },
  );
}

test("a customer that is new has no version, a read needs no key", LIMIT, async (t) => {
  const { customers, events } = calling(await serving(t));
  await assert.rejects(customers.create({}, { ifMatch: 1 }), TypeError);
  await assert.rejects(customers.get("cust_1", {}, { idempotencyKey: "k" }), TypeError);
  await assert.rejects(customers.list({}, { ifMatch: 1 }), TypeError);
  assert.throws(() => events.read({}, { ifMatch: 1 }), TypeError);
});

test(
  "a base with a path, with or without a slash at its end, stays before every route",
  LIMIT,
  async (t) => {
    const server = await serving(t, {}, {}, {});
    const bases = [server.url, `${server.url}/shop/v1`, `${server.url}/shop/v1/`];
    for (const url of bases) await calling({ url }).customers.get("cust_1");
    assert.deepEqual(
      server.requests.map(({ url }) => url),
      ["/user/cust_1", "/shop/v1/user/cust_1", "/shop/v1/user/cust_1"],
    );
  },
);

test("an id or a tag is one part of the path, whatever is in it", LIMIT, async (t) => {
  const server = await serving(t, {}, {}, {});
  const { customers } = calling(server);
  await customers.get("../a?b#c");
  await customers.removeTag("cust_1", "50% off/é");
  await customers.removeAddress("cust_1", "%2e%2e");
  assert.deepEqual(
    server.requests.map(({ url }) => url),
    [
      "/user/..%2Fa%3Fb%23c",
      "/user/cust_1/tag/50%25%20off%2F%C3%A9",
      "/user/cust_1/address/%252e%252e",
    ],
  );
});

for (const part of ["", ".", "..", undefined, null, 7]) {
  test(`${JSON.stringify(part)} is no part of a path, and nothing is sent`, LIMIT, async (t) => {
    const server = await serving(t);
    const { customers } = calling(server);
    await assert.rejects(customers.delete(part), TypeError);
    await assert.rejects(customers.removeAddress("cust_1", part), TypeError);
    await assert.rejects(customers.removeTag("cust_1", part), TypeError);
    assert.equal(server.requests.length, 0);
  });
}

test(
  "a query repeats arrays, writes times in UTC and leaves out what is undefined",
  LIMIT,
  async (t) => {
    const server = await serving(t, {}, {});
    const { customers } = calling(server);
    const since = new Date("2024-06-15T16:22:00+02:00");
    await customers.list({
      tag: ["vip", "a&b=é"],
      q: undefined,
      since,
      active: false,
      minSpent: 0,
    });
    assert.equal(
      server.requests[0].url,
      "/user?tag=vip&tag=a%26b%3D%C3%A9&since=2024-06-15T14%3A22%3A00.000Z&active=false&minSpent=0",
    );
    await customers.list();
    assert.equal(server.requests[1].url, "/user");
  },
);

test("null in a query would begin again at the first page, so it is refused", LIMIT, async (t) => {
  const server = await serving(t);
  await assert.rejects(calling(server).customers.list({ cursor: null }), /cursor is null/);
  assert.equal(server.requests.length, 0);
});

test("in a body undefined is absent and null is null", LIMIT, async (t) => {
  const server = await serving(t, {});
  await calling(server).customers.update("cust_1", { phone: null, email: undefined, tags: [] });
  const [{ method, headers, body }] = server.requests;
  assert.deepEqual([method, body], ["PUT", '{"phone":null,"tags":[]}']);
  assert.equal(headers["content-type"], "application/json");
});

test("a version becomes an entity tag, at every write", LIMIT, async (t) => {
  const gone = { status: 204, body: "" };
  const server = await serving(t, {}, gone, {}, {}, gone, {}, {});
  const { customers } = calling(server);
  const options = { ifMatch: 7 };
  await customers.update("cust_1", {}, options);
  assert.equal(await customers.delete("cust_1", options), undefined);
  await customers.addAddress("cust_1", {}, options);
  await customers.updateAddress("cust_1", "addr_1", {}, options);
  assert.equal(await customers.removeAddress("cust_1", "addr_1", options), undefined);
  await customers.addTags("cust_1", ["vip"], options);
  await customers.removeTag("cust_1", "vip", options);
  for (const { headers } of server.requests) assert.equal(headers["if-match"], '"7"');
  assert.equal(server.requests[1].body, "");
  assert.equal(server.requests[1].headers["content-type"], undefined);
  assert.equal(server.requests[5].body, '{"tags":["vip"]}');
});

test("without a version nothing is conditional", LIMIT, async (t) => {
  const server = await serving(t, {});
  await calling(server).customers.update("cust_1", {});
  assert.equal(server.requests[0].headers["if-match"], undefined);
});

test("the highest position of a log's writes is remembered", LIMIT, async (t) => {
  const said = (epoch, position) => ({
    headers: { "Log-Epoch": epoch, ...(position && { "Log-Position": position }) },
  });
  const server = await serving(
    t,
    ...[said("a", "12"), said("a", "9"), {}, said("a", "junk"), said("b", "3"), said("c")],
  );
  const commerce = new Commerce({ apiKey: TOKEN, baseUrl: server.url });
  const seen = [commerce.position];
  for (let request = 0; request < 6; request += 1) {
    await commerce.customers.update("cust_1", {});
    seen.push(commerce.position);
  }
  assert.deepEqual(seen, [0, 12, 12, 12, 12, 3, 0]);
});

test("a refusal remembers no position, but that the log is another", LIMIT, async (t) => {
  const server = await serving(
    t,
    { headers: { "Log-Epoch": "a", "Log-Position": "12" } },
    { status: 412, headers: { "Log-Epoch": "b" } },
  );
  const { customers, log } = calling(server);
  await customers.update("cust_1", {});
  await assert.rejects(customers.get("cust_1"), { status: 412 });
  assert.equal(log.position, 0);
});

test("keys are made where there is no global crypto, as in Node 18", async () => {
  const given = Object.getOwnPropertyDescriptor(globalThis, "crypto");
  Object.defineProperty(globalThis, "crypto", { value: undefined, configurable: true });
  try {
    const keys = await Promise.all(Array.from({ length: 100 }, randomKey));
    assert.equal(new Set(keys).size, 100);
    for (const key of keys) assert.match(key, /^[0-9a-f]{32}$/);
  } finally {
    delete globalThis.crypto;
    if (given) Object.defineProperty(globalThis, "crypto", given);
  }
});
