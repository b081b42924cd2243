package sdk

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"
)

func TestAPassingFailureIsTriedAgain(t *testing.T) {
	for name, failing := range map[string]http.HandlerFunc{
		"429":                  refuse(429, "rate_limited"),
		"503":                  refuse(503, "database_unavailable"),
		"503 without problem":  answer(503, "<html>", "Content-Type", "text/html"),
		"409 in flight":        refuse(409, "idempotency_in_flight", "Retry-After", "0"),
		"an answer cut off":    cut,
		"a connection dropped": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			calls := start(t, failing, aCustomer)
			// A write with a key of ours: net/http itself repeats such a request only where nothing
			// of an answer came over a connection that was used before.
			customer, err := calls.Customers.Create(context.Background(), &CustomerInput{})
			must(t, err)
			mustBe(t, "the id", customer.ID, "cust_1")
			mustBe(t, "the number of requests", len(calls.requests), 2)
			mustBe(t, "the number of waits", len(calls.waits), 1)
		})
	}
}

func TestAnyOtherFailureIsNot(t *testing.T) {
	for _, status := range []int{
		302, 400, 401, 403, 404, 405, 408, 409, 410, 412, 413, 415, 417, 422, 500, 502, 504,
	} {
		calls := start(t, refuse(status, "some_code"))
		_, err := calls.get()
		mustBe(t, "the status", failureOf(t, err).Status, status)
		mustBe(t, "the number of waits", len(calls.waits), 0)
	}
}

func TestAttemptsAndWaitsAreBounded(t *testing.T) {
	var answers []http.HandlerFunc
	for attempt := 0; attempt <= 7; attempt++ {
		answers = append(answers, refuse(503, "overloaded"))
	}
	calls := startWith(t, []Option{Retries(7)}, answers...)
	_, err := calls.get()
	mustBe(t, "the code", failureOf(t, err).Code, "overloaded")
	mustBe(t, "the number of requests", len(calls.requests), 8)
	var milliseconds []int64
	for _, wait := range calls.waits {
		milliseconds = append(milliseconds, wait.Milliseconds())
	}
	mustBe(t, "the waits", milliseconds, []int64{200, 400, 800, 1600, 3200, 5000, 5000})

	calls = startWith(t, []Option{Retries(0)}, refuse(503, "overloaded"))
	_, err = calls.get()
	mustBe(t, "the code", failureOf(t, err).Code, "overloaded")
}

func TestHalfOfAWaitIsByChance(t *testing.T) {
	calls := start(t).calls
	for chance, want := range map[float64]time.Duration{
		0: 200 * time.Millisecond, 0.5: 300 * time.Millisecond, 1: 400 * time.Millisecond,
	} {
		calls.random = func() float64 { return chance }
		mustBe(t, "the wait", calls.backoff(2, 0), want)
	}
	for drawn := 0; drawn < 1000; drawn++ {
		if each := chance(); each < 0 || each > 1 {
			t.Fatalf("%v is no chance", each)
		}
	}
	if chance() == chance() && chance() == chance() {
		t.Error("chance is always the same")
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	now := time.Date(2024, 6, 15, 14, 22, 0, 0, time.UTC)
	for given, want := range map[string]time.Duration{
		"2":                             2*time.Second + 100*time.Millisecond,
		"30":                            30*time.Second + 100*time.Millisecond,
		"0":                             200 * time.Millisecond,
		"Sat, 15 Jun 2024 14:22:07 GMT": 7*time.Second + 100*time.Millisecond,
		"Sat, 15 Jun 2024 14:21:00 GMT": 200 * time.Millisecond,
		"soon":                          200 * time.Millisecond,
		"-5":                            200 * time.Millisecond,
	} {
		calls := start(t, refuse(429, "rate_limited", "Retry-After", given), aCustomer)
		calls.calls.now = func() time.Time { return now }
		_, err := calls.get()
		must(t, err)
		mustBe(t, "the wait for "+given, calls.waits, []time.Duration{want})
	}
}

func TestWhatIsNoTimeIsNoRetryAfter(t *testing.T) {
	for _, given := range []string{"", "-5", "1.5", "soon", "99999999999"} {
		wait, isThere := retryAfter(http.Header{"Retry-After": {given}}, time.Now())
		mustBe(t, "Retry-After "+given, []any{wait, isThere}, []any{time.Duration(0), false})
	}
}

func TestALongRetryAfterIsLeftToTheCaller(t *testing.T) {
	calls := start(t, refuse(503, "overloaded", "Retry-After", "31"))
	_, err := calls.get()
	mustBe(t, "RetryAfter", failureOf(t, err).RetryAfter, 31*time.Second)
	mustBe(t, "the number of waits", len(calls.waits), 0)
}

func TestTheContextEndsTheWait(t *testing.T) {
	calls := start(t, refuse(503, "overloaded", "Retry-After", "20"))
	ctx, cancel := context.WithCancel(context.Background())
	calls.calls.wait = func(ctx context.Context, length time.Duration) error {
		cancel()
		return pause(ctx, length)
	}
	began := time.Now()
	_, err := calls.Customers.Get(ctx, "cust_1")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v is no context.Canceled", err)
	}
	holds(t, err.Error(), "context canceled, in the wait after 503 overloaded", "(request r-1)")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestAnEndedContextSendsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	calls := start(t, func(writer http.ResponseWriter, request *http.Request) {
		cancel()
		<-request.Context().Done()
	})
	for range [2]int{} {
		_, err := calls.Customers.Get(ctx, "cust_1")
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v is no context.Canceled", err)
		}
	}
	mustBe(t, "the number of requests", len(calls.requests), 1)
	mustBe(t, "the number of waits", len(calls.waits), 0)
}

func TestAPauseIsAsLongAsItShouldBe(t *testing.T) {
	began := time.Now()
	must(t, pause(context.Background(), 20*time.Millisecond))
	if took := time.Since(began); took < 20*time.Millisecond {
		t.Errorf("it took %v", took)
	}
}

func TestTheTimeoutIsForTheBodyToo(t *testing.T) {
	const limit = 100 * time.Millisecond
	calls := startWith(t, []Option{Timeout(limit), Retries(0)}, hang(`{"id":`))
	_, err := calls.get()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is no context.DeadlineExceeded", err)
	}
	mustBe(t, "the code", failureOf(t, err).Code, CodeNoAnswer)

	calls = startWith(t, []Option{Timeout(limit)}, hang(`{"id":`), aCustomer)
	calls.calls.wait = func(context.Context, time.Duration) error {
		calls.calls.timeout = DefaultTimeout // each attempt has a timeout of its own
		return nil
	}
	_, err = calls.get()
	must(t, err)
}

func TestOneConnectionIsUsedForAll(t *testing.T) {
	problem := refuse(404, "customer_not_found")
	calls := start(t, aCustomer, problem, refuse(503, "overloaded"), answer(204, ""), aCustomer)
	connections := map[string]bool{}
	_, err := calls.get()
	must(t, err)
	_, err = calls.get()
	mustBe(t, "the status", failureOf(t, err).Status, 404)
	must(t, calls.Customers.Delete(context.Background(), "cust_1"))
	_, err = calls.get()
	must(t, err)
	for _, request := range calls.requests {
		connections[request.RemoteAddr] = true
	}
	mustBe(t, "the number of connections", len(connections), 1)
}
