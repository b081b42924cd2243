// Whether a request that failed is sent again, and when.
//
// Invariant: only what may pass by itself is repeated, never earlier than the service asked for,
// and no wait is longer than RETRY_AFTER_SECONDS_MAX and a backoff.

const BACKOFF_MILLISECONDS = 200; // before the second attempt; doubled before each one after it
const BACKOFF_MILLISECONDS_MAX = 5_000;
const RETRY_AFTER_SECONDS_MAX = 30; // asked to wait for longer, the caller decides

/**
 * How many milliseconds to wait after a failed attempt, counted from 1; null = do not repeat it.
 * `random` is from 0 to 1: clients that failed together do not come back together.
 */
export function waitMilliseconds(error, attempt, random) {
  if (!mayPass(error)) return null;
  const backoff = Math.min(BACKOFF_MILLISECONDS * 2 ** (attempt - 1), BACKOFF_MILLISECONDS_MAX);
  if (error.retryAfter === null) return backoff * (0.5 + random / 2);
  if (error.retryAfter > RETRY_AFTER_SECONDS_MAX) return null;
  return error.retryAfter * 1_000 + backoff * random;
}

/** A 409 with Retry-After: the first request with this key is still being carried out. */
function mayPass({ code, status, retryAfter }) {
  if (status === null) return code === "network_error" || code === "timeout";
  return status === 429 || status === 503 || (status === 409 && retryAfter !== null);
}
