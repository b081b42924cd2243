// What callers may set, for the client and for one call.
//
// Invariant: a name that is not known is refused, since a misspelt `ifMatch` protects nothing; and
// no message holds a value that was given.

const BASE_URL_DEFAULT = "http://127.0.0.1:8080";
const TIMEOUT_MILLISECONDS_DEFAULT = 30_000;
const TIMEOUT_MILLISECONDS_MAX = 2 ** 31 - 1; // beyond it, timers of JavaScript fire at once
const ATTEMPTS_MAX_DEFAULT = 4;
const ATTEMPTS_MAX = 20;

export const CLIENT = ["apiKey", "baseUrl", "timeoutMilliseconds", "attemptsMax", "fetch"];
export const READ = ["signal", "timeoutMilliseconds"];
export const CREATE = [...READ, "idempotencyKey"];
export const WRITE = [...CREATE, "ifMatch"];

// By option, what it must be: said in the error, and asked of the value.
const RULES = {
  apiKey: ["the token, in visible ASCII characters", (value) => matches(/^[!-~]+$/, value)],
  baseUrl: ["an http or https URL without user, query and fragment", isBaseUrl],
  timeoutMilliseconds: [
    `a whole number from 1 to ${TIMEOUT_MILLISECONDS_MAX}`,
    (value) => isWhole(value, 1, TIMEOUT_MILLISECONDS_MAX),
  ],
  attemptsMax: [
    `a whole number from 1 to ${ATTEMPTS_MAX}`,
    (value) => isWhole(value, 1, ATTEMPTS_MAX),
  ],
  fetch: ["a function", (value) => typeof value === "function"],
  signal: ["an AbortSignal", (value) => typeof value?.addEventListener === "function"],
  idempotencyKey: [
    "1 to 255 printable ASCII characters, no space or quote first, no space last",
    (value) => matches(/^[!#-~]([ -~]{0,253}[!-~])?$/, value),
  ],
  ifMatch: ["a version, a whole number from 1", (value) => isWhole(value, 1)],
};

/** All options of a client. Throws one TypeError that names every fault. */
export function clientOptions(given) {
  if (typeof given !== "object" || given === null) {
    throw new TypeError("Options are missing, as in new Commerce({ apiKey }).");
  }
  const options = {
    apiKey: undefined,
    baseUrl: BASE_URL_DEFAULT,
    timeoutMilliseconds: TIMEOUT_MILLISECONDS_DEFAULT,
    attemptsMax: ATTEMPTS_MAX_DEFAULT,
    fetch: globalThis.fetch,
    ...defined(given),
  };
  check(options, CLIENT);
  return { ...options, baseUrl: new URL(options.baseUrl).href.replace(/\/+$/, "") };
}

/** The options of one call that are there. Throws one TypeError that names every fault. */
export function callOptions(given, known) {
  if (typeof given !== "object" || given === null)
    throw new TypeError("Options must be an object.");
  const options = defined(given);
  check(options, known);
  return options;
}

export function isWhole(value, minimum, maximum = Number.MAX_SAFE_INTEGER) {
  return Number.isSafeInteger(value) && value >= minimum && value <= maximum;
}

function check(options, known) {
  const faults = Object.entries(options).flatMap(([name, value]) => {
    if (!known.includes(name)) return [`there is no option ${name}, only ${known.join(", ")}`];
    const [rule, holds] = RULES[name];
    return holds(value) ? [] : [`${name} must be ${rule}`];
  });
  if (faults.length > 0) throw new TypeError(`Wrong options: ${faults.join("; ")}.`);
}

function defined(given) {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

function matches(pattern, value) {
  return typeof value === "string" && pattern.test(value);
}

function isBaseUrl(value) {
  let url;
  try {
    url = new URL(value);
  } catch {
    return false;
  }
  const extra = url.username + url.password + url.search + url.hash;
  return ["http:", "https:"].includes(url.protocol) && extra === "";
}
