// Every operation on customers: which route it is, and what goes into it.
//
// Invariants: every write carries an Idempotency-Key; what is undefined is absent from a body, and
// null clears. A list is walked by cursors only, which cost the same at any depth.

import { callOptions, CREATE, READ, WRITE } from "./options.js";
import { randomKey } from "./random_key.js";

const ALL = "/user";
const ONE = "/user/{customerId}";
const ADDRESSES = `${ONE}/address`;
const ADDRESS = `${ADDRESSES}/{addressId}`;
const TAGS = `${ONE}/tag`;
const DISPLAY_MAX = 100; // of a page, and what walking through all pages asks for

/**
 * Customers. Shapes are in index.d.ts. Reads take `{signal, timeoutMilliseconds}` last, writes also
 * `{idempotencyKey, ifMatch}`: a key of your own, and the version that the customer must be at.
 * All throw CommerceError; TypeError where what was given cannot be sent; and the signal's reason.
 */
export class Customers {
  #transport;

  constructor(transport) {
    this.#transport = transport;
  }

  /**
   * One page: `{count, page, display, nextCursor, models}`. Parameters: page, display, sort, q, tag
   * (an array: all of them), since, until, updatedSince (text or Date), active, email, minSpent,
   * maxSpent (minor units), minOrders, maxOrders, cursor, minPosition.
   */
  async list(parameters = {}, options = {}) {
    return this.#read(ALL, {}, parameters, options);
  }

  /** Every customer of a list, page after page: `for await (const customer of listAll({tag}))`. */
  async *listAll(parameters = {}, options = {}) {
    yield* pages(parameters, "models", (page) => this.list(page, options));
  }

  /** The customer, always current; as it was with `{version}` or `{at}` (text or Date). */
  async get(customerId, parameters = {}, options = {}) {
    return this.#read(ONE, { customerId }, parameters, options);
  }

  /** A new customer; only `email` is required. It has no version yet, so there is no `ifMatch`. */
  async create(customer, options = {}) {
    return this.#write("POST", ALL, {}, customer, options, CREATE);
  }

  /** The changed customer. Tags are replaced, metadata merged by key. */
  async update(customerId, changes, options = {}) {
    return this.#write("PUT", ONE, { customerId }, changes, options);
  }

  /** Deletes for good; orders stay, without a name. `update(id, {active: false})` deactivates. */
  async delete(customerId, options = {}) {
    return this.#write("DELETE", ONE, { customerId }, undefined, options);
  }

  /** The same as `delete`. */
  async remove(customerId, options = {}) {
    return this.delete(customerId, options);
  }

  /** The new address; line1, city and country (two letters) are required. */
  async addAddress(customerId, address, options = {}) {
    return this.#write("POST", ADDRESSES, { customerId }, address, options);
  }

  /** The changed address. `isDefault: true` takes the mark from the one before. */
  async updateAddress(customerId, addressId, changes, options = {}) {
    return this.#write("PUT", ADDRESS, { customerId, addressId }, changes, options);
  }

  /** Removes an address. */
  async removeAddress(customerId, addressId, options = {}) {
    return this.#write("DELETE", ADDRESS, { customerId, addressId }, undefined, options);
  }

  /** The customer with these tags (an array) as well. */
  async addTags(customerId, tags, options = {}) {
    return this.#write("POST", TAGS, { customerId }, { tags }, options);
  }

  /** The customer without this tag, in any case. */
  async removeTag(customerId, tag, options = {}) {
    return this.#write("DELETE", `${TAGS}/{tag}`, { customerId, tag }, undefined, options);
  }

  /** One page of orders, the latest first. Parameters: display, cursor, minPosition. */
  async orders(customerId, parameters = {}, options = {}) {
    return this.#read(`${ONE}/orders`, { customerId }, parameters, options);
  }

  /** Every order, page after page. */
  async *ordersAll(customerId, parameters = {}, options = {}) {
    yield* pages(parameters, "models", (page) => this.orders(customerId, page, options));
  }

  /** One page of history, the oldest first. Parameters: after (a version), display, cursor. */
  async events(customerId, parameters = {}, options = {}) {
    return this.#read(`${ONE}/events`, { customerId }, parameters, options);
  }

  /** Every event of the history, page after page. */
  async *eventsAll(customerId, parameters = {}, options = {}) {
    yield* pages(parameters, "events", (page) => this.events(customerId, page, options));
  }

  /** All that is held about a customer: `{exportedAt, asOfPosition, customer, events, orders}`. */
  async export(customerId, options = {}) {
    return this.#read(`${ONE}/export`, { customerId }, {}, options);
  }

  async #read(template, parts, parameters, options) {
    const request = { method: "GET", template, parts, parameters };
    return this.#transport.json(request, callOptions(options, READ));
  }

  async #write(method, template, parts, body, options, known = WRITE) {
    const { idempotencyKey, ifMatch, ...rest } = callOptions(options, known);
    const headers = { "Idempotency-Key": idempotencyKey ?? (await randomKey()) };
    if (ifMatch !== undefined) headers["If-Match"] = `"${ifMatch}"`;
    return this.#transport.json({ method, template, parts, headers, body }, rest);
  }
}

/** What all pages hold. `page` and `after` say where the first begins; cursors lead on. */
async function* pages(parameters, name, read) {
  let given = { display: DISPLAY_MAX, ...parameters };
  while (true) {
    const answer = await read(given);
    yield* answer[name];
    if (!answer.nextCursor) return;
    const { page, after, ...filter } = given;
    given = { ...filter, cursor: answer.nextCursor };
  }
}
