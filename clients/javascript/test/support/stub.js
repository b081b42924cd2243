// A server that says what a test wants, a clock that a test turns, and a client of both.
//
// Invariant: no test waits for time: waits end at once, and timeouts come when a test says so.

import { createServer } from "node:http";
import { once } from "node:events";

import { Customers } from "../../source/customers.js";
import { Events } from "../../source/events.js";
import { clientOptions } from "../../source/options.js";
import { Transport } from "../../source/transport.js";

export const TOKEN = "ctk_secret";
export const LIMIT = { timeout: 20_000 }; // of a test; milliseconds
const TIMEOUT_MILLISECONDS = 77_777; // by which the clock knows a timeout from a wait

/** Answers the requests in turn: an object `{status, headers, body}`, or a function. */
export async function serving(t, ...answers) {
  const requests = [];
  const left = [...answers];
  const server = createServer(async (request, response) => {
    const chunks = await request.toArray();
    const { method, url, headers } = request;
    requests.push({ method, url, headers, body: Buffer.concat(chunks).toString() });
    const answer = left.shift() ?? { status: 500, body: "asked too often" };
    if (typeof answer === "function") return answer(response);
    const { status = 200, headers: said = {}, body = {} } = answer;
    response.writeHead(status, { "Content-Type": "application/json", ...said });
    response.end(typeof body === "string" ? body : JSON.stringify(body));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${server.address().port}`;
  const close = async () => {
    if (!server.listening) return;
    const closed = once(server, "close");
    server.close();
    server.closeAllConnections();
    await closed;
  };
  t.after(close);
  return { url, requests, close };
}

export class Clock {
  time = Date.UTC(2024, 5, 15, 14, 22);
  waits = []; // how long each was
  #timeouts = new Set();
  #waiting = new Set();

  /** Waits end when they begin, unless a test does something else then. */
  onWait = (callback) => queueMicrotask(callback);

  now() {
    return this.time;
  }

  after(milliseconds, callback) {
    const timers = milliseconds === TIMEOUT_MILLISECONDS ? this.#timeouts : this.#waiting;
    timers.add(callback);
    if (timers === this.#waiting) {
      this.waits.push(milliseconds);
      this.onWait(callback);
    }
    return () => timers.delete(callback);
  }

  /** The time of every attempt that is under way is over. */
  timeOut() {
    for (const callback of this.#timeouts) callback();
  }

  /** How many timers nobody has cancelled. */
  get pending() {
    return this.#timeouts.size + this.#waiting.size;
  }
}

/** A client whose chance is always `chance`, from 0 to 1. */
export function calling(server, { clock = new Clock(), chance = 0, ...options } = {}) {
  const given = {
    apiKey: TOKEN,
    baseUrl: server.url,
    timeoutMilliseconds: TIMEOUT_MILLISECONDS,
    ...options,
  };
  const transport = new Transport(clientOptions(given), { clock, random: () => chance });
  return {
    customers: new Customers(transport),
    events: new Events(transport),
    log: transport.log,
    clock,
  };
}

export function problem(status, code, more = {}, headers = {}) {
  return {
    status,
    headers: { "Content-Type": "application/problem+json", ...headers },
    body: { type: `/docs#problem-${code}`, title: "Title.", status, code, ...more },
  };
}

export async function collected(iterable) {
  const found = [];
  for await (const each of iterable) found.push(each);
  return found;
}
