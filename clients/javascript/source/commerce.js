// The client as its users hold it: here its parts are put together, and nothing else happens.

import { Customers } from "./customers.js";
import { Events } from "./events.js";
import { clientOptions } from "./options.js";
import { Transport } from "./transport.js";

/** A caller of the Customer API, with one token. */
export class Commerce {
  #transport;

  /**
   * @param {object} options
   * @param {string} options.apiKey The token. It is in no error, nor in what is printed of this.
   * @param {string | URL} [options.baseUrl] Of the service; `http://127.0.0.1:8080` if absent.
   * @param {number} [options.timeoutMilliseconds] For each attempt, its body included; 30,000 if
   *   absent.
   * @param {number} [options.attemptsMax] How often a request is sent at most; 4 if absent, 1 never
   *   repeats.
   * @param {typeof fetch} [options.fetch] Sends requests; the global one if absent.
   * @throws {TypeError} An option is missing, unknown or wrong.
   */
  constructor(options) {
    this.#transport = new Transport(clientOptions(options));
    /** Customers, with their addresses, tags, orders and history. */
    this.customers = new Customers(this.#transport);
    /** The feed: the log of all customers' events. */
    this.events = new Events(this.#transport);
  }

  /**
   * The highest place in the log at which something was written by this client; 0 = nothing yet.
   * As `minPosition` of a list it means: show what I wrote.
   */
  get position() {
    return this.#transport.log.position;
  }
}
