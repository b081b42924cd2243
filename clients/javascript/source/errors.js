// The one error of this client, and how it is made from what went wrong.
//
// Invariant: a message holds the method, the route's template, the status and a code, never a
// value: no token, no id, no part of a body. `detail` and `errors` are the service's, which echoes
// nothing.

const PROBLEM_JSON = /^application\/problem\+json\s*(;|$)/i;
const CODE = /^[a-z][a-z0-9_]{0,63}$/;

/** A request that failed. Switch on `code`. */
export class CommerceError extends Error {
  /**
   * @param {string} message
   * @param {object} fields Those below; what is not given is null, or an empty array.
   */
  constructor(message, { cause, ...fields }) {
    super(message, cause === undefined ? undefined : { cause });
    /** @type {number | null} The HTTP status; null where there was no answer. */
    this.status = fields.status ?? null;
    /**
     * @type {string} The service's own, such as `email_taken`, or `network_error` (no answer; a
     * write may have happened), `timeout` (likewise), `http_error` (an error that is not the
     * service's, from a proxy for example), `invalid_answer` (a success that is not what was asked
     * for).
     */
    this.code = fields.code;
    /** @type {string | null} What is the matter this time, in a sentence. */
    this.detail = fields.detail ?? null;
    /** @type {string | null} Names the request in the service's log. */
    this.requestId = fields.requestId ?? null;
    /** @type {{pointer: string, code: string, detail: string}[]} Every fault of the request. */
    this.errors = fields.errors ?? [];
    /** @type {string[]} What may be given instead, where the service says so. */
    this.allowed = fields.allowed ?? [];
    /** @type {number | null} Seconds after which to try again. */
    this.retryAfter = fields.retryAfter ?? null;
    /** @type {number | null} The customer's version, with `precondition_failed`. */
    this.currentVersion = fields.currentVersion ?? null;
  }
}
Object.defineProperty(CommerceError.prototype, "name", { value: "CommerceError" });

/** For an answer that is no success. `now` is in milliseconds since 1970. */
export function refusal(request, response, text, now) {
  const problem = problemOf(response, text);
  const code = CODE.test(textOrNull(problem.code) ?? "") ? problem.code : "http_error";
  return errorOf(request, `${response.status} ${code}`, {
    status: response.status || null, // a browser shows a redirect as 0
    code,
    detail: textOrNull(problem.detail) ?? "The answer is not one of the service's own.",
    requestId: textOrNull(problem.requestId) ?? response.headers.get("X-Request-Id"),
    errors: arrayOrNone(problem.errors),
    allowed: arrayOrNone(problem.allowed),
    retryAfter: secondsOf(response.headers.get("Retry-After"), now),
    currentVersion: Number.isInteger(problem.currentVersion) ? problem.currentVersion : null,
  });
}

/** For no answer: `code` is `network_error` or `timeout`. */
export function unanswered(request, code, cause) {
  const detail = {
    network_error: "The connection failed before the whole answer was there.",
    timeout: "The whole answer was not there in time.",
  }[code];
  return errorOf(request, code, { code, detail, cause });
}

/** For a success that cannot be read. */
export function invalidAnswer(request, { status, headers }, detail, cause) {
  const code = "invalid_answer";
  const requestId = headers.get("X-Request-Id");
  return errorOf(request, `${status} ${code}`, { status, code, detail, requestId, cause });
}

/** For a log that was set back since the caller read it. */
export function epochChanged(request, { status, headers }) {
  const code = "epoch_changed";
  const detail = "The log ends before the position given: it was restored.";
  const requestId = headers.get("X-Request-Id");
  return errorOf(request, `${status} ${code}`, { status, code, detail, requestId });
}

function errorOf({ method, template }, what, fields) {
  return new CommerceError(`${method} ${template}: ${what}`, fields);
}

/** The members of a problem document; none where it is another answer, or broken. */
function problemOf(response, text) {
  if (!PROBLEM_JSON.test(response.headers.get("Content-Type") ?? "")) return {};
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}

/** Retry-After is in seconds, or a date (RFC 9110); null where it is neither. */
function secondsOf(text, now) {
  if (text === null) return null;
  if (/^\d+$/.test(text)) return Number(text);
  const date = Date.parse(text);
  return Number.isNaN(date) ? null : Math.max(0, Math.ceil((date - now) / 1_000));
}

function textOrNull(value) {
  return typeof value === "string" ? value : null;
}

function arrayOrNone(value) {
  return Array.isArray(value) ? value : [];
}
