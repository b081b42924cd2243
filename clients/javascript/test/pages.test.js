// Walking through all pages, of lists and of the feed.

import assert from "node:assert/strict";
import { test } from "node:test";

import { calling, collected, LIMIT, problem, serving } from "./support/stub.js";

const page = (models, nextCursor) => ({ body: { count: 3, nextCursor, models } });

/** A page of the feed; lines of JSON, or what stands for one. */
function lines(end, positions, headers = {}) {
  const texts = positions.map((position) => `${JSON.stringify({ position, name: "Zoë 🙂" })}\n`);
  return {
    headers: { "As-Of-Position": String(end), "Log-Epoch": "e1", ...headers },
    body: texts.join(""),
  };
}

const urls = (server) => server.requests.map(({ url }) => url);

test("a list is walked by its cursors, with the same filter", LIMIT, async (t) => {
  const server = await serving(
    t,
    page([{ id: 1 }, { id: 2 }], "c/1"),
    page([], "c2"),
    page([{ id: 3 }], null),
  );
  const all = calling(server).customers.listAll({ tag: ["a", "b"], page: 2, minPosition: 9 });
  assert.deepEqual(
    (await collected(all)).map(({ id }) => id),
    [1, 2, 3],
  );
  assert.deepEqual(urls(server), [
    "/user?display=100&tag=a&tag=b&page=2&minPosition=9",
    "/user?display=100&tag=a&tag=b&minPosition=9&cursor=c%2F1",
    "/user?display=100&tag=a&tag=b&minPosition=9&cursor=c2",
  ]);
});

test("who stops walking asks for no more pages", LIMIT, async (t) => {
  const server = await serving(t, page([{ id: 1 }, { id: 2 }], "c1"));
  for await (const { id } of calling(server).customers.listAll({ display: 2 })) {
    if (id === 2) break;
  }
  assert.deepEqual(urls(server), ["/user?display=2"]);
});

test("walking fails where a page does", LIMIT, async (t) => {
  const server = await serving(t, page([{ id: 1 }], "c1"), problem(400, "invalid_cursor"));
  await assert.rejects(collected(calling(server).customers.listAll()), { code: "invalid_cursor" });
});

test("orders and history are walked alike", LIMIT, async (t) => {
  const history = (events, nextCursor) => ({ body: { count: 2, nextCursor, events } });
  const server = await serving(
    t,
    ...[page([{ orderId: "o1" }], "c1"), page([{ orderId: "o2" }], null)],
    ...[history([{ version: 4 }], "c2"), history([{ version: 5 }], null)],
  );
  const { customers } = calling(server);
  assert.equal((await collected(customers.ordersAll("cust_1"))).length, 2);
  assert.equal(
    (await collected(customers.eventsAll("cust_1", { after: 3, display: 1 }))).length,
    2,
  );
  assert.deepEqual(urls(server), [
    "/user/cust_1/orders?display=100",
    "/user/cust_1/orders?display=100&cursor=c1",
    "/user/cust_1/events?display=1&after=3",
    "/user/cust_1/events?display=1&cursor=c2",
  ]);
});

test("the feed goes on from As-Of-Position until nothing is left", LIMIT, async (t) => {
  const pages = [
    lines(5, [1, 3]),
    lines(9, []),
    lines(12, [12]),
    lines(12, []),
    lines(14, [14]),
    lines(14, []),
  ];
  const server = await serving(t, ...pages);
  const feed = calling(server).events.read();
  assert.deepEqual([feed.position, feed.epoch], [0, undefined]);
  assert.deepEqual(
    (await collected(feed)).map(({ position }) => position),
    [1, 3, 12],
  );
  assert.deepEqual([feed.position, feed.epoch], [12, "e1"]);
  assert.deepEqual(
    (await collected(feed)).map(({ position }) => position),
    [14],
  );
  assert.deepEqual(
    urls(server),
    [0, 5, 9, 12, 12, 14].map((after) => `/events?after=${after}&limit=1000`),
  );
  const asked = server.requests.map(({ headers }) => [headers.accept, headers["log-epoch"]]);
  assert.deepEqual(asked[0], ["application/x-ndjson", undefined]);
  assert.deepEqual(asked[1], ["application/x-ndjson", "e1"]);
});

test("the feed gives what it was asked for, and no more", LIMIT, async (t) => {
  const server = await serving(t, lines(8, [7, 8]), lines(9, [9]));
  const feed = calling(server).events.read({
    after: 6,
    types: ["a", "b.v1"],
    limit: 3,
    epoch: "e1",
  });
  assert.equal((await collected(feed)).length, 3);
  assert.equal(feed.position, 9);
  assert.deepEqual(urls(server), [
    "/events?after=6&limit=3&types=a%2Cb.v1",
    "/events?after=8&limit=1&types=a%2Cb.v1",
  ]);
  assert.equal(server.requests[0].headers["log-epoch"], "e1");
});

test("the event in hand is counted, those behind it are not", LIMIT, async (t) => {
  const server = await serving(t, lines(9, [2, 5, 7]), lines(9, [7]), lines(9, []));
  const feed = calling(server).events.read();
  for await (const event of feed) {
    assert.equal(feed.position, event.position);
    if (event.position === 5) break;
  }
  assert.equal(feed.position, 5);
  assert.deepEqual(
    (await collected(feed)).map(({ position }) => position),
    [7],
  );
  assert.equal(urls(server)[1], "/events?after=5&limit=1000");
});

test("lines and characters come whole, wherever chunks end", LIMIT, async () => {
  const { headers, body } = lines(2, [1, 2]);
  const bytes = new TextEncoder().encode(body);
  const drops = () =>
    new ReadableStream({
      start(controller) {
        for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
        controller.close();
      },
    });
  const fetch = async () => new Response(drops(), { headers });
  const feed = calling({ url: "http://h" }, { fetch }).events.read({ limit: 2 });
  assert.deepEqual(await collected(feed), [
    { position: 1, name: "Zoë 🙂" },
    { position: 2, name: "Zoë 🙂" },
  ]);
});

test("a page that is cut off is read again, and no event comes twice", LIMIT, async (t) => {
  const whole = lines(2, [1, 2]);
  const cut = (response) => {
    response.writeHead(200, { ...whole.headers, "Content-Length": Buffer.byteLength(whole.body) });
    response.write(whole.body.slice(0, -9), () => response.socket.destroy());
  };
  const server = await serving(t, cut, whole, lines(2, []));
  const found = await collected(calling(server).events.read());
  assert.deepEqual(
    found.map(({ position }) => position),
    [1, 2],
  );
  assert.equal(server.requests.length, 3);
});

test("a log that was set back is told", LIMIT, async (t) => {
  const server = await serving(t, lines(4, []), problem(412, "epoch_changed"));
  const { events } = calling(server);
  await assert.rejects(collected(events.read({ after: 5 })), {
    code: "epoch_changed",
    status: 200,
  });
  await assert.rejects(collected(events.read({ after: 5, epoch: "e0" })), {
    code: "epoch_changed",
  });
});

test("a page without its end, or with a broken line, is none", LIMIT, async (t) => {
  const { body } = lines(2, [1]);
  const server = await serving(t, { body }, { ...lines(2, []), body: `${body}{"position":` });
  const { events } = calling(server);
  await assert.rejects(collected(events.read()), { code: "invalid_answer" });
  await assert.rejects(collected(events.read()), { code: "invalid_answer" });
});

for (const parameters of [
  { after: -1 },
  { after: "5" },
  { limit: 0 },
  { limit: 1.5 },
  { type: "a" },
]) {
  test(`a feed with ${JSON.stringify(parameters)} is refused`, LIMIT, async (t) => {
    const { events } = calling(await serving(t));
    assert.throws(() => events.read(parameters), TypeError);
  });
}
