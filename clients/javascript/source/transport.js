// Sending requests: attempts, their time, and what comes back.
//
// Invariants: every attempt of a request is the same, its Idempotency-Key included, so a repeated
// write happens once; an answer counts once its whole body is here; nothing goes on after the
// caller's signal has aborted; the token is only ever in the header of a request to `baseUrl`.

import { systemClock, wait } from "./clock.js";
import { CommerceError, invalidAnswer, refusal, unanswered } from "./errors.js";
import { KnownLog } from "./known_log.js";
import { waitMilliseconds } from "./retry.js";
import { pathOf, queryOf } from "./url.js";

/**
 * @typedef {object} Request
 * @property {string} method
 * @property {string} template The route, such as `/user/{customerId}`.
 * @property {Record<string, string>} [parts] What is put into the template.
 * @property {object} [parameters] Of the query.
 * @property {Record<string, string>} [headers]
 * @property {object} [body] Sent as JSON.
 */

export class Transport {
  log = new KnownLog();
  #authorization;
  #baseUrl;
  #timeoutMilliseconds;
  #attemptsMax;
  #fetch;
  #clock;
  #random;

  constructor(options, { clock = systemClock, random = Math.random } = {}) {
    this.#authorization = `Bearer ${options.apiKey}`;
    this.#baseUrl = options.baseUrl;
    this.#timeoutMilliseconds = options.timeoutMilliseconds;
    this.#attemptsMax = options.attemptsMax;
    this.#fetch = options.fetch;
    this.#clock = clock;
    this.#random = random;
  }

  /** The status, headers and text of a success. Throws CommerceError, or the signal's reason. */
  async send(request, { signal, timeoutMilliseconds = this.#timeoutMilliseconds } = {}) {
    const { template, parts = {}, parameters = {} } = request;
    const url = this.#baseUrl + pathOf(template, parts) + queryOf(parameters);
    const init = this.#init(request);
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#attempt(request, url, init, signal, timeoutMilliseconds);
      } catch (error) {
        if (!(error instanceof CommerceError) || attempt >= this.#attemptsMax) throw error;
        const milliseconds = waitMilliseconds(error, attempt, this.#random());
        if (milliseconds === null) throw error;
        await wait(this.#clock, milliseconds, signal);
      }
    }
  }

  /** The JSON of a success; undefined where it has no body by its status. */
  async json(request, options) {
    const answer = await this.send(request, options);
    if (answer.status === 204) return undefined;
    try {
      return JSON.parse(answer.text);
    } catch (error) {
      throw invalidAnswer(request, answer, "The answer is not JSON, or not whole.", error);
    }
  }

  #init({ method, headers = {}, body }) {
    const init = {
      method,
      headers: { Accept: "application/json", Authorization: this.#authorization, ...headers },
      redirect: "manual", // followed, a write would become a read, and be counted as done
    };
    if (body === undefined) return init;
    init.headers["Content-Type"] = "application/json";
    return { ...init, body: JSON.stringify(body) };
  }

  async #attempt(request, url, init, signal, timeoutMilliseconds) {
    const { response, text } = await this.#exchange(
      request,
      url,
      init,
      signal,
      timeoutMilliseconds,
    );
    this.log.note(response.headers);
    if (!response.ok) throw refusal(request, response, text, this.#clock.now());
    return { status: response.status, headers: response.headers, text };
  }

  /** One request and the whole of its answer, whatever that says. */
  async #exchange(request, url, init, signal, timeoutMilliseconds) {
    signal?.throwIfAborted();
    const fetch = this.#fetch; // called without `this`, as browsers want it
    const controller = new AbortController();
    let code = "network_error";
    const stop = () => controller.abort(signal.reason);
    const cancel = this.#clock.after(timeoutMilliseconds, () => {
      code = "timeout";
      controller.abort();
    });
    signal?.addEventListener("abort", stop);
    try {
      const response = await fetch(url, { ...init, signal: controller.signal });
      return { response, text: await response.text() };
    } catch (error) {
      signal?.throwIfAborted();
      throw unanswered(request, code, error);
    } finally {
      cancel();
      signal?.removeEventListener("abort", stop);
    }
  }
}
