package sdk

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net/http"
	"strconv"
	"time"
)

const (
	backoffFirst = 200 * time.Millisecond
	backoffMax   = 5 * time.Second
	// retryAfterMax is the longest Retry-After that is waited for; a longer one is the caller's
	// affair, who finds it in the error.
	retryAfterMax = 30 * time.Second
)

// repeat makes attempts until one succeeds or there is no sense in another.
//
// Invariant: nothing is sent or waited for once the context has ended.
func (c *caller) repeat(ctx context.Context, attempt func() *Error) error {
	for made := 1; ; made++ {
		failure := attempt()
		if failure == nil {
			return nil
		}
		if made > c.retries || !failure.isPassing() || ctx.Err() != nil {
			return failure
		}
		if err := c.wait(ctx, c.backoff(made, failure.RetryAfter)); err != nil {
			return failure.interrupted(err)
		}
	}
}

// isPassing tells whether the same request may succeed soon.
func (e *Error) isPassing() bool {
	if e.RetryAfter > retryAfterMax {
		return false
	}
	switch e.Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return true
	case http.StatusConflict:
		return e.saysWhen // the first request with the same key is still running
	}
	return e.Code == CodeNoAnswer
}

// backoff is how long to wait after so many attempts: half of it by chance, so that callers who
// failed together do not come back together, and never less than the server asked for.
func (c *caller) backoff(made int, retryAfter time.Duration) time.Duration {
	step := backoffFirst << (made - 1)
	if step > backoffMax {
		step = backoffMax
	}
	half := time.Duration(float64(step) / 2 * c.random())
	if retryAfter > 0 {
		return retryAfter + half
	}
	return step/2 + half
}

// retryAfter reads the header, which holds seconds or an HTTP date; false where it is not there,
// or neither.
func retryAfter(header http.Header, now time.Time) (time.Duration, bool) {
	given := header.Get("Retry-After")
	if seconds, err := strconv.ParseInt(given, 10, 32); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second, true
	}
	at, err := http.ParseTime(given)
	if err != nil {
		return 0, false
	}
	if wait := at.Sub(now); wait > 0 {
		return wait, true
	}
	return 0, true
}

// pause returns the context's error where that ends first.
func pause(ctx context.Context, length time.Duration) error {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// chance is 0 to 1. It is not math/rand, which begins alike in every process before Go 1.20.
func chance() float64 {
	var drawn [4]byte
	if _, err := rand.Read(drawn[:]); err != nil {
		return 1 // wait longest: only the spreading is lost
	}
	return float64(binary.BigEndian.Uint32(drawn[:])) / (1 << 32)
}
