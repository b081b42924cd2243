// The feed: the events of all customers in the order of their positions.
//
// Invariants: up to `position` nothing was left out, so whoever keeps it goes on from there; a page
// is read whole before its first event is given out, so a slow reader holds no connection.

import { epochChanged, invalidAnswer } from "./errors.js";
import { positionOf } from "./known_log.js";
import { callOptions, isWhole, READ } from "./options.js";

const LINES_MAX = 1_000; // of a page, of which the service also cuts the bytes, at about 8 MiB
export const PARAMETERS = ["after", "types", "limit", "epoch"];

/** The log of all customers' events. Needs a token with the scope `events:read`. */
export class Events {
  #transport;

  constructor(transport) {
    this.#transport = transport;
  }

  /**
   * The events after a position, up to the end of the log: `for await (const event of read())`.
   *
   * @param {object} [parameters]
   * @param {number} [parameters.after] A position; 0, the beginning, if absent.
   * @param {string | string[]} [parameters.types] Only these, such as `customer.created`.
   * @param {number} [parameters.limit] Events at most; no limit if absent.
   * @param {string} [parameters.epoch] The log that `after` belongs to: if it is another by now, as
   *   a backup was restored, the code is `epoch_changed`.
   * @param {{signal?: AbortSignal, timeoutMilliseconds?: number}} [options] Time is for each page.
   * @returns {Feed}
   * @throws {TypeError} A parameter or an option is unknown or wrong.
   */
  read(parameters = {}, options = {}) {
    return new Feed(this.#transport, checked(parameters), callOptions(options, READ));
  }
}

/** Events as they are read. Iterating again goes on where it ended, with what came since. */
export class Feed {
  #transport;
  #parameters;
  #options;
  #position;
  #epoch;

  constructor(transport, { after = 0, epoch, ...parameters }, options) {
    this.#transport = transport;
    this.#parameters = parameters;
    this.#options = options;
    this.#position = after;
    this.#epoch = epoch;
  }

  /** Where to go on, as `after`: the event in hand is counted, nothing before it is left out. */
  get position() {
    return this.#position;
  }

  /** The log that `position` belongs to; undefined before the first answer. */
  get epoch() {
    return this.#epoch;
  }

  async *[Symbol.asyncIterator]() {
    let left = this.#parameters.limit ?? Infinity;
    while (left > 0) {
      const before = this.#position;
      const { lines, end } = await this.#page(Math.min(left, LINES_MAX));
      left -= lines.length;
      for (const event of lines) {
        this.#position = event.position;
        yield event;
      }
      this.#position = end;
      if (end === before) return;
    }
  }

  async #page(limit) {
    const { types } = this.#parameters;
    const request = {
      method: "GET",
      template: "/events",
      parameters: { after: this.#position, limit, types: types && [types].flat().join(",") },
      headers: { Accept: "application/x-ndjson" },
    };
    if (this.#epoch !== undefined) request.headers["Log-Epoch"] = this.#epoch;
    const answer = await this.#transport.send(request, this.#options);
    const end = positionOf(answer.headers, "As-Of-Position");
    if (end === null) throw invalidAnswer(request, answer, "As-Of-Position is missing.");
    if (end < this.#position) throw epochChanged(request, answer);
    this.#epoch = answer.headers.get("Log-Epoch") ?? undefined;
    return { lines: eventsOf(request, answer), end };
  }
}

function checked(parameters) {
  const { after = 0, limit = 1 } = parameters;
  const unknown = Object.keys(parameters).filter((name) => !PARAMETERS.includes(name));
  const faults = unknown.map((name) => `there is no ${name}, only ${PARAMETERS.join(", ")}`);
  if (!isWhole(after, 0)) faults.push("after must be a whole number from 0");
  if (!isWhole(limit, 1)) faults.push("limit must be a whole number from 1");
  if (faults.length > 0) throw new TypeError(`Wrong parameters: ${faults.join("; ")}.`);
  return parameters;
}

function eventsOf(request, answer) {
  const lines = answer.text.split("\n").filter((line) => line !== "");
  try {
    return lines.map((line) => JSON.parse(line));
  } catch (error) {
    throw invalidAnswer(request, answer, "A line of the answer is not JSON.", error);
  }
}
