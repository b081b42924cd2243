// Package sdk calls the customer API: it reads and writes customers, and reads the feed of what
// happened to them.
//
// A [Client] holds one key for one installation. Reads and writes that fail for a passing reason
// (no answer, 429, 503, or 409 with Retry-After) are sent again a few times. Every write carries
// an Idempotency-Key that stays the same over these attempts, so a repeat never doubles a write.
//
// A call that fails returns an [*Error], to be looked at with [errors.As]. Money is in integer
// minor units of its currency, times are in UTC and exact to a millisecond, ids are opaque. What a
// newer server sends beyond the fields here is ignored.
package sdk
