// The client against a real service, named by COMMERCE_URL, with a token in COMMERCE_TOKEN that
// has every scope: the README as it is printed, and every operation. What it makes it deletes.
//
// Orders come from elsewhere: the customer `orders@example.com`, if there, must have three of them.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import { Commerce } from "../index.js";

const { COMMERCE_URL: baseUrl, COMMERCE_TOKEN: apiKey } = process.env;
const skip = !(baseUrl && apiKey) && "needs COMMERCE_URL and COMMERCE_TOKEN";
const EVERY = { skip, timeout: 60_000 };
const PACKAGE = fileURLToPath(new URL("..", import.meta.url));

// The published reference; the package and the e-mail address, which it leaves out, are put in.
const DOCUMENTED = `import { Commerce } from 'customers-client'

const commerce = new Commerce({ apiKey: 'your_key' })

// List VIP customers
const customers = await commerce.customers.list({
  tag: 'vip',
  sort: 'totalSpent:desc',
  display: 50
})

// Create customer
const customer = await commerce.customers.create({
  email: 'jane@example.com',
  firstName: 'Jane',
  lastName: 'Doe'
})

// Add address
await commerce.customers.addAddress(customer.id, {
  label: 'Home',
  line1: '456 Oak Ave',
  city: 'Portland',
  state: 'OR',
  postalCode: '97201',
  country: 'US'
})
`;
const KEY = "apiKey: 'your_key'";
const GIVEN = "apiKey: process.env.COMMERCE_TOKEN, baseUrl: process.env.COMMERCE_URL";
const ADDRESS = { line1: "1 Oak Ave", city: "Portland", country: "us" };

const blocks = [
  ...(await readFile(join(PACKAGE, "README.md"), "utf8")).matchAll(/^```js\n(.*?)^```$/gms),
].map(([, code]) => code);

/** What a module has that is run where the package was installed. */
async function run(t, code) {
  const folder = await mkdtemp(join(tmpdir(), "customers-client-"));
  t.after(() => rm(folder, { recursive: true }));
  await mkdir(join(folder, "node_modules"));
  await symlink(PACKAGE, join(folder, "node_modules", "customers-client"), "dir");
  const file = join(folder, "program.mjs");
  assert.ok(code.includes(KEY));
  await writeFile(file, code.replace(KEY, GIVEN));
  return import(pathToFileURL(file).href);
}

async function collected(iterable) {
  const found = [];
  for await (const each of iterable) found.push(each);
  return found;
}

test(
  "the documented example is the README's first, and works as it is written",
  EVERY,
  async (t) => {
    assert.equal(blocks[0], DOCUMENTED);
    const { commerce, customers, customer } = await run(
      t,
      `${DOCUMENTED}export { commerce, customers, customer }`,
    );
    t.after(() => commerce.customers.delete(customer.id));
    assert.equal(customers.display, 50);
    assert.equal(customers.count, customers.models.length);
    assert.equal(customer.email, "jane@example.com");
    const { firstName, lastName, addresses } = await commerce.customers.get(customer.id);
    assert.deepEqual([firstName, lastName], ["Jane", "Doe"]);
    const { id, ...home } = addresses[0];
    assert.match(id, /^addr_/);
    assert.deepEqual(home, {
      label: "Home",
      line1: "456 Oak Ave",
      city: "Portland",
      state: "OR",
      postalCode: "97201",
      country: "US",
      isDefault: true,
    });
  },
);

test("the README runs from top to bottom", EVERY, async (t) => {
  assert.ok(blocks.length >= 5);
  const names = "commerce, customer, page, before, orders, feed, more";
  const ran = await run(t, `${blocks.join("\n")}export { ${names} }`);
  const { commerce, customer } = ran;
  t.after(() => commerce.customers.delete(customer.id));
  assert.ok(ran.page.models.some(({ id }) => id === customer.id));
  assert.equal(ran.before.lastName, "Doe");
  assert.deepEqual(ran.orders.models, []);
  assert.ok(ran.feed.position > 0);
  assert.equal(ran.more.epoch, ran.feed.epoch);
  const { lastName, phone, tags } = await commerce.customers.get(customer.id);
  assert.deepEqual([lastName, phone, tags], [null, "+1-555-0123", ["vip"]]);
});

let commerce;
let zoe;

before(async () => {
  if (skip) return;
  commerce = new Commerce({ apiKey, baseUrl });
  zoe = await commerce.customers.create({
    email: `zoe.${process.pid}@example.com`,
    firstName: "Zoë",
    phone: undefined,
    tags: ["50% off/é", "a?b#c&d=e+f"],
    metadata: { source: "client" },
  });
});

after(async () => {
  if (skip) return;
  await commerce.customers.delete(zoe.id);
  await assert.rejects(commerce.customers.remove(zoe.id), {
    code: "customer_deleted",
    status: 404,
  });
});

test("a list shows at once what this client wrote", EVERY, async () => {
  const { id, email } = zoe;
  assert.ok(commerce.position > 0);
  const filter = {
    email,
    tag: zoe.tags,
    since: new Date(0),
    active: true,
    minSpent: 0,
    maxOrders: 0,
  };
  const list = await commerce.customers.list({ ...filter, minPosition: commerce.position });
  assert.deepEqual([list.count, list.models.map((each) => each.id)], [1, [id]]);
  const past = await commerce.customers.list({ ...filter, until: zoe.createdAt });
  assert.equal(past.count, 0);
});

test("all pages are walked by cursors", EVERY, async (t) => {
  const made = [];
  for (const number of [1, 2, 3, 4, 5]) {
    const email = `walk.${process.pid}.${number}@example.com`;
    made.push(await commerce.customers.create({ email, lastName: `Walk ${process.pid}` }));
  }
  t.after(() => Promise.all(made.map(({ id }) => commerce.customers.delete(id))));
  const filter = { q: `walk ${process.pid}`, sort: "email:asc", minPosition: commerce.position };
  const found = await collected(commerce.customers.listAll({ ...filter, display: 2 }));
  assert.deepEqual(
    found.map(({ id }) => id),
    made.map(({ id }) => id),
  );
});

test("changes, conditions, and what was before", EVERY, async () => {
  const { customers } = commerce;
  const read = await customers.get(zoe.id);
  const changes = { ...read, lastName: "Doe", phone: "+1-555-0123", email: undefined };
  const changed = await customers.update(zoe.id, changes, { ifMatch: read.version });
  assert.deepEqual([changed.lastName, changed.version], ["Doe", read.version + 1]);
  const stale = customers.update(zoe.id, { lastName: null }, { ifMatch: read.version });
  await assert.rejects(stale, {
    code: "precondition_failed",
    status: 412,
    currentVersion: changed.version,
  });
  const cleared = await customers.update(zoe.id, { lastName: null, firstName: undefined });
  assert.deepEqual([cleared.lastName, cleared.firstName], [null, "Zoë"]);
  assert.equal((await customers.get(zoe.id, { version: changed.version })).lastName, "Doe");
  assert.deepEqual(await customers.get(zoe.id, { at: zoe.createdAt }), zoe);
  await assert.rejects(customers.get(zoe.id, { at: new Date(0) }), { code: "customer_not_found" });
});

test("a key of one's own answers the same again, whatever happened since", EVERY, async () => {
  const { customers } = commerce;
  const { version } = await customers.get(zoe.id);
  const options = { idempotencyKey: `key "${process.pid}" \\ of one's own`, ifMatch: version };
  const first = await customers.addTags(zoe.id, ["once"], options);
  const position = commerce.position;
  assert.deepEqual(await customers.addTags(zoe.id, ["once"], options), first);
  assert.equal(commerce.position, position);
  await assert.rejects(customers.addTags(zoe.id, ["twice"], options), {
    code: "idempotency_key_reused",
  });
  assert.equal((await customers.get(zoe.id)).version, version + 1);
});

test("tags and ids arrive as they are, whatever is in them", EVERY, async () => {
  const { customers } = commerce;
  await customers.addTags(zoe.id, ["VIP"]);
  for (const tag of [...zoe.tags, "vip"]) {
    const { tags } = await customers.removeTag(zoe.id, tag);
    assert.ok(!tags.some((each) => each.toLowerCase() === tag.toLowerCase()), tags.join());
  }
  await assert.rejects(customers.get("cust/../1?x#y"), { code: "customer_not_found" });
});

test("addresses are added, changed and removed", EVERY, async () => {
  const { customers } = commerce;
  const first = await customers.addAddress(zoe.id, ADDRESS);
  assert.deepEqual([first.country, first.isDefault], ["US", true]);
  const second = await customers.addAddress(zoe.id, { ...ADDRESS, label: "Office" });
  const changed = await customers.updateAddress(zoe.id, second.id, {
    label: null,
    isDefault: true,
  });
  assert.deepEqual(changed, { ...second, label: null, isDefault: true });
  assert.equal(await customers.removeAddress(zoe.id, second.id), undefined);
  assert.deepEqual((await customers.get(zoe.id)).addresses, [first]);
  const again = customers.removeAddress(zoe.id, second.id);
  await assert.rejects(again, { code: "address_not_found", status: 404 });
});

test("the history, the export and the feed tell the same events", EVERY, async () => {
  const { customers, events } = commerce;
  const history = await collected(customers.eventsAll(zoe.id, { display: 2 }));
  const page = await customers.events(zoe.id, { after: 1, display: 1 });
  assert.deepEqual([page.count, page.events], [history.length, [history[1]]]);
  const held = await customers.export(zoe.id);
  assert.deepEqual(held.customer, await customers.get(zoe.id));
  assert.deepEqual([held.events, held.orders], [history, []]);

  const feed = events.read({ after: history[0].position - 1 });
  const own = (await collected(feed)).filter(({ customerId }) => customerId === zoe.id);
  assert.deepEqual(
    own.map(({ id }) => id),
    history.map(({ id }) => id),
  );
  const created = events.read({ types: ["customer.created"], limit: 1, epoch: feed.epoch });
  const [first, ...more] = await collected(created);
  assert.deepEqual([first.type, more], ["customer.created.v1", []]);
  assert.equal(created.position, first.position);
  await customers.addTags(zoe.id, ["since"]);
  const since = await collected(feed);
  assert.deepEqual(
    since.map(({ type, data }) => [type, data]),
    [["customer.tagged.v1", { tags: ["since"] }]],
  );
  assert.equal(feed.position, commerce.position);
  const other = events.read({ after: feed.position, epoch: "0".repeat(32) });
  await assert.rejects(collected(other), { code: "epoch_changed", status: 412 });
  await assert.rejects(collected(events.read({ after: feed.position + 1_000 })), {
    code: "epoch_changed",
  });
});

test("orders are read page by page", EVERY, async (t) => {
  const { models } = await commerce.customers.list({ email: "orders@example.com" });
  if (models.length === 0) return t.skip("needs orders@example.com");
  const orders = await collected(commerce.customers.ordersAll(models[0].id, { display: 2 }));
  assert.equal(new Set(orders.map(({ orderId }) => orderId)).size, 3);
  const { count, nextCursor } = await commerce.customers.orders(models[0].id, { display: 1 });
  assert.deepEqual([count, typeof nextCursor], [3, "string"]);
});

test("what is wrong with a request is told field by field", EVERY, async () => {
  const wrong = commerce.customers.create({ email: "no address", phone: 7 });
  await assert.rejects(wrong, (error) => {
    assert.deepEqual([error.status, error.code], [422, "validation_failed"]);
    assert.deepEqual(error.errors.map(({ pointer }) => pointer).sort(), ["/email", "/phone"]);
    assert.ok(error.requestId);
    assert.ok(!JSON.stringify(error).includes("no address"));
    return true;
  });
  const unknown = commerce.customers.list({ tags: "vip" });
  await assert.rejects(unknown, (error) => {
    assert.deepEqual([error.status, error.code], [400, "unknown_parameter"]);
    return error.allowed.includes("tag");
  });
  const nobody = new Commerce({ apiKey: "ctk_unknown", baseUrl });
  await assert.rejects(nobody.customers.list(), { code: "invalid_token", status: 401 });
});
