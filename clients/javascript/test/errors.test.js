// What a failure says, whoever answered, and that it tells no secret.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";

import { Commerce, CommerceError } from "../index.js";
import { calling, LIMIT, problem, serving, TOKEN } from "./support/stub.js";

/** What a call is rejected with. */
async function failure(promise) {
  const error = await promise.then(
    () => assert.fail("it should fail"),
    (reason) => reason,
  );
  assert.ok(error instanceof CommerceError, error);
  assert.ok(error instanceof Error);
  assert.equal(error.name, "CommerceError");
  return error;
}

test("a problem of the service is told whole", LIMIT, async (t) => {
  const errors = [{ pointer: "/email", code: "invalid_email", detail: "This is not one." }];
  const more = {
    detail: "It has faults.",
    requestId: "req1",
    errors,
    allowed: ["a"],
    currentVersion: 7,
  };
  const server = await serving(t, problem(422, "validation_failed", more));
  const error = await failure(calling(server).customers.update("cust_1", {}));
  assert.deepEqual(
    { ...error },
    {
      status: 422,
      code: "validation_failed",
      detail: "It has faults.",
      requestId: "req1",
      errors,
      allowed: ["a"],
      retryAfter: null,
      currentVersion: 7,
    },
  );
  assert.equal(error.message, "PUT /user/{customerId}: 422 validation_failed");
  assert.equal(Object.hasOwn(error, "cause"), false);
});

test("a proxy's page is an error with a status", LIMIT, async (t) => {
  const headers = { "Content-Type": "text/html", "X-Request-Id": "req2", "Retry-After": "9" };
  const server = await serving(t, { status: 502, headers, body: "<h1>Bad Gateway</h1>" });
  const error = await failure(calling(server).customers.get("cust_1"));
  assert.deepEqual(
    { ...error },
    {
      status: 502,
      code: "http_error",
      detail: "The answer is not one of the service's own.",
      requestId: "req2",
      errors: [],
      allowed: [],
      retryAfter: 9,
      currentVersion: null,
    },
  );
});

for (const body of [
  "{",
  "null",
  "7",
  '"text"',
  "[]",
  '{"code":5,"detail":5,"errors":5}',
  '{"code":"A b"}',
]) {
  test(`a problem that is ${body} is an error with a status`, LIMIT, async (t) => {
    const headers = { "Content-Type": "application/problem+json; charset=utf-8" };
    const server = await serving(t, { status: 400, headers, body });
    const error = await failure(calling(server).customers.get("cust_1"));
    assert.deepEqual([error.status, error.code, error.errors], [400, "http_error", []]);
  });
}

test("JSON that is no problem document says nothing", LIMIT, async (t) => {
  const server = await serving(t, { status: 400, body: { code: "some_code" } });
  assert.equal((await failure(calling(server).customers.get("cust_1"))).code, "http_error");
});

for (const body of ["<h1>Sign in</h1>", "", '{"id":']) {
  test(`a success that is ${body || "empty"} is none`, LIMIT, async (t) => {
    const server = await serving(t, { headers: { "X-Request-Id": "req3" }, body });
    const error = await failure(calling(server).customers.get("cust_1"));
    assert.deepEqual([error.status, error.code], [200, "invalid_answer"]);
    assert.equal(error.requestId, "req3");
    assert.ok(error.cause instanceof SyntaxError);
    assert.equal(server.requests.length, 1);
  });
}

test("a redirect is not followed, so the token goes nowhere else", LIMIT, async (t) => {
  const other = await serving(t, {});
  const server = await serving(t, { status: 307, headers: { Location: `${other.url}/user` } });
  const error = await failure(calling(server).customers.create({ email: "jane@example.com" }));
  assert.deepEqual([error.status, error.code], [307, "http_error"]);
  assert.equal(other.requests.length, 0);
});

test("the key shows nowhere but in the header", LIMIT, async (t) => {
  const server = await serving(t, problem(401, "invalid_token"));
  const commerce = new Commerce({ apiKey: TOKEN, baseUrl: server.url });
  const error = await failure(commerce.customers.get("cust_1"));
  const shown = [commerce, commerce.customers, commerce.events, commerce.events.read(), error];
  for (const each of shown) {
    const text = inspect(each, { depth: Infinity, showHidden: true, getters: true });
    assert.ok(!text.includes(TOKEN), text);
    assert.ok(!JSON.stringify(each).includes(TOKEN));
  }
  assert.equal(server.requests[0].headers.authorization, `Bearer ${TOKEN}`);
});

test(
  "what people typed is in no message, and neither is a token that cannot be sent",
  LIMIT,
  async (t) => {
    const jane = "jane@example.com";
    const server = await serving(
      t,
      { status: 400, headers: { "Content-Type": "text/html" }, body: jane },
      { body: jane },
      problem(404, "customer_not_found"),
      (response) => response.socket.destroy(),
    );
    const { customers } = calling(server, { attemptsMax: 1 });
    const calls = [
      () => customers.list({ q: jane }),
      () => customers.list({ email: jane }),
      () => customers.removeTag(jane, jane),
      () => customers.create({ email: jane }, { idempotencyKey: jane }),
    ];
    for (const call of calls) {
      const error = await failure(call());
      assert.ok(!`${error.message} ${error.stack} ${error.detail}`.includes("jane"), error.message);
    }
    assert.equal(server.requests.length, calls.length);
    const secret = "ctk_sécret\n";
    assert.throws(
      () => new Commerce({ apiKey: secret }),
      (error) => {
        assert.ok(error instanceof TypeError);
        return error.message.includes("apiKey") && !error.message.includes("cret");
      },
    );
    const key = "jane@example.com\n";
    await assert.rejects(customers.create({}, { idempotencyKey: key }), (error) => {
      assert.ok(error instanceof TypeError);
      return error.message.includes("idempotencyKey") && !error.message.includes("jane");
    });
  },
);
