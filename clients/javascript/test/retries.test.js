// What is sent again, when, and that nothing happens twice or goes on for ever.

import assert from "node:assert/strict";
import { test } from "node:test";

import { CommerceError } from "../index.js";
import { calling, Clock, LIMIT, problem, serving } from "./support/stub.js";

const BUSY = problem(503, "overloaded");
const JANE = { email: "jane@example.com" };

test("a write is repeated as it was, with the same key, until it is answered", LIMIT, async (t) => {
  const server = await serving(
    t,
    BUSY,
    (response) => response.socket.destroy(),
    problem(429, "rate_limited", {}, { "Retry-After": "1" }),
    { status: 201, body: { id: "cust_1" } },
  );
  const { customers, clock } = calling(server);
  assert.deepEqual(await customers.create(JANE), { id: "cust_1" });
  assert.equal(server.requests.length, 4);
  const [key] = server.requests.map(({ headers }) => headers["idempotency-key"]);
  assert.match(key, /^[0-9a-f]{32}$/);
  for (const { method, url, headers, body } of server.requests) {
    assert.deepEqual([method, url, headers["idempotency-key"]], ["POST", "/user", key]);
    assert.deepEqual(JSON.parse(body), JANE);
  }
  assert.equal(clock.pending, 0);
});

test("two writes have two keys, and a key that is given is sent", LIMIT, async (t) => {
  const server = await serving(t, {}, {}, {});
  const { customers } = calling(server);
  await customers.create(JANE);
  await customers.create(JANE);
  await customers.create(JANE, { idempotencyKey: "signup 1" });
  const keys = server.requests.map(({ headers }) => headers["idempotency-key"]);
  assert.equal(new Set(keys).size, 3);
  assert.equal(keys[2], "signup 1");
});

test("a read has no key", LIMIT, async (t) => {
  const server = await serving(t, {});
  await calling(server).customers.get("cust_1");
  assert.equal(server.requests[0].headers["idempotency-key"], undefined);
});

test("waits double, and chance moves them", LIMIT, async (t) => {
  for (const [chance, waits] of [
    [0, [100, 200, 400]],
    [1, [200, 400, 800]],
  ]) {
    const server = await serving(t, BUSY, BUSY, BUSY, BUSY);
    const { customers, clock } = calling(server, { chance });
    await assert.rejects(customers.get("cust_1"), { code: "overloaded", status: 503 });
    assert.deepEqual(clock.waits, waits);
    assert.equal(server.requests.length, 4);
  }
});

test("attempts and waits are bounded", LIMIT, async (t) => {
  const server = await serving(t, ...Array(20).fill(BUSY));
  const { customers, clock } = calling(server, { attemptsMax: 20, chance: 1 });
  await assert.rejects(customers.get("cust_1"), { code: "overloaded" });
  assert.equal(server.requests.length, 20);
  assert.equal(Math.max(...clock.waits), 5_000);
});

test("one attempt at most means that nothing is repeated", LIMIT, async (t) => {
  const server = await serving(t, BUSY);
  await assert.rejects(calling(server, { attemptsMax: 1 }).customers.get("cust_1"), {
    code: "overloaded",
  });
  assert.equal(server.requests.length, 1);
});

test("Retry-After is waited for, in seconds or to a date", LIMIT, async (t) => {
  const clock = new Clock();
  const date = new Date(clock.time + 7_000).toUTCString();
  const past = new Date(clock.time - 7_000).toUTCString();
  const busy = ["3", date, past, "0"].map((text) =>
    problem(503, "overloaded", {}, { "Retry-After": text }),
  );
  const server = await serving(t, ...busy, {});
  await calling(server, { clock, attemptsMax: 5 }).customers.get("cust_1");
  assert.deepEqual(clock.waits, [3_000, 7_000, 0, 0]);
});

test("after Retry-After chance keeps clients apart", LIMIT, async (t) => {
  const server = await serving(t, problem(503, "overloaded", {}, { "Retry-After": "3" }), {});
  const { customers, clock } = calling(server, { chance: 1 });
  await customers.get("cust_1");
  assert.deepEqual(clock.waits, [3_200]);
});

test("a Retry-After that nobody can read counts as none", LIMIT, async (t) => {
  const server = await serving(t, problem(503, "overloaded", {}, { "Retry-After": "soon" }), {});
  const { customers, clock } = calling(server);
  await customers.get("cust_1");
  assert.deepEqual(clock.waits, [100]);
});

test("for longer than 30 seconds nobody waits", LIMIT, async (t) => {
  const last = problem(503, "overloaded", {}, { "Retry-After": "30" });
  const server = await serving(t, last, problem(503, "overloaded", {}, { "Retry-After": "31" }));
  const { customers, clock } = calling(server);
  await assert.rejects(customers.get("cust_1"), { code: "overloaded", retryAfter: 31 });
  assert.deepEqual(clock.waits, [30_000]);
});

test("a key in flight is asked for again, other conflicts are not", LIMIT, async (t) => {
  const server = await serving(
    t,
    problem(409, "idempotency_in_flight", {}, { "Retry-After": "1" }),
    problem(409, "email_taken"),
  );
  await assert.rejects(calling(server).customers.create(JANE), { code: "email_taken" });
  assert.equal(server.requests.length, 2);
});

for (const status of [400, 401, 403, 404, 408, 410, 412, 422, 500, 502, 504]) {
  test(`${status} is final, whatever Retry-After says`, LIMIT, async (t) => {
    const server = await serving(t, problem(status, "some_code", {}, { "Retry-After": "1" }));
    await assert.rejects(calling(server).customers.create(JANE), { status, code: "some_code" });
    assert.equal(server.requests.length, 1);
  });
}

test("an answer that stops before its end is asked for again", LIMIT, async (t) => {
  const cut = (response) => {
    response.writeHead(200, { "Content-Length": "100" });
    response.write('{"id":', () => response.socket.destroy());
  };
  const server = await serving(t, cut, { body: { id: "cust_1" } });
  assert.deepEqual(await calling(server).customers.get("cust_1"), { id: "cust_1" });
});

test("the time of an attempt goes on while its body drips", LIMIT, async (t) => {
  const drip = (response) => response.write('{"id":');
  const server = await serving(t, drip, drip);
  const clock = new Clock();
  const { customers } = calling(server, {
    clock,
    attemptsMax: 2,
    fetch: async (...given) => {
      const response = await fetch(...given);
      setImmediate(() => clock.timeOut()); // the client is reading the body by then
      return response;
    },
  });
  await assert.rejects(customers.get("cust_1"), (error) => {
    assert.ok(error instanceof CommerceError);
    assert.deepEqual([error.code, error.status], ["timeout", null]);
    assert.equal(error.cause.name, "AbortError");
    return true;
  });
  assert.equal(server.requests.length, 2);
  assert.equal(clock.pending, 0);
});

test("no answer at all is a timeout, and repeated", LIMIT, async (t) => {
  const clock = new Clock();
  const server = await serving(t, () => clock.timeOut(), {});
  assert.deepEqual(await calling(server, { clock }).customers.get("cust_1"), {});
  assert.equal(server.requests.length, 2);
});

test("a call may have a time of its own", LIMIT, async (t) => {
  const server = await serving(t, {});
  const { customers, clock } = calling(server);
  clock.onWait = () => {};
  await customers.get("cust_1", {}, { timeoutMilliseconds: 5 });
  assert.deepEqual(clock.waits, [5]); // which the clock does not know for a timeout
  assert.equal(clock.pending, 0);
});

test("nobody there is a network error, with its cause", LIMIT, async (t) => {
  const server = await serving(t);
  await server.close();
  const { customers, clock } = calling(server);
  await assert.rejects(customers.get("cust_1"), (error) => {
    assert.deepEqual([error.code, error.status], ["network_error", null]);
    assert.equal(error.message, "GET /user/{customerId}: network_error");
    assert.equal(error.cause.cause.code, "ECONNREFUSED");
    return true;
  });
  assert.equal(clock.waits.length, 3);
});

test("aborting ends a wait at once", LIMIT, async (t) => {
  const server = await serving(t, problem(503, "overloaded", {}, { "Retry-After": "30" }));
  const { customers, clock } = calling(server);
  const controller = new AbortController();
  const reason = new Error("enough");
  clock.onWait = () => controller.abort(reason);
  const { signal } = controller;
  await assert.rejects(customers.get("cust_1", {}, { signal }), (error) => error === reason);
  assert.equal(server.requests.length, 1);
  assert.equal(clock.pending, 0);
});

test("aborting ends a request, also the last, and it is not repeated", LIMIT, async (t) => {
  for (const attemptsMax of [1, 2]) {
    const controller = new AbortController();
    const server = await serving(t, () => controller.abort());
    const { customers, clock } = calling(server, { attemptsMax });
    const { signal } = controller;
    await assert.rejects(customers.create(JANE, { signal }), { name: "AbortError" });
    assert.equal(server.requests.length, 1);
    assert.equal(clock.pending, 0);
  }
});

test("who has aborted before asks nothing", LIMIT, async (t) => {
  const server = await serving(t, {});
  const signal = AbortSignal.abort();
  await assert.rejects(calling(server).customers.get("cust_1", {}, { signal }), {
    name: "AbortError",
  });
  assert.equal(server.requests.length, 0);
});

test("calls leave nothing behind at a signal", LIMIT, async (t) => {
  const server = await serving(t, BUSY, {});
  const { signal } = new AbortController();
  const listeners = new Set();
  const observed = {
    throwIfAborted: () => signal.throwIfAborted(),
    addEventListener: (_, listener) => listeners.add(listener),
    removeEventListener: (_, listener) => listeners.delete(listener),
  };
  await calling(server).customers.get("cust_1", {}, { signal: observed });
  assert.equal(server.requests.length, 2);
  assert.equal(listeners.size, 0);
});
