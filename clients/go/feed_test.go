package sdk

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// lines is an answer of the feed that ends at a position.
func lines(position int, events ...string) http.HandlerFunc {
	return answer(200, strings.Join(append(events, ""), "\n"),
		"As-Of-Position", fmt.Sprint(position), "Log-Epoch", "e1",
		"Content-Type", "application/x-ndjson")
}

func event(position int) string {
	return fmt.Sprintf(`{"position":%d,"type":"customer.created.v1","data":{"n":1},"new":1}`,
		position)
}

// readFeedOf goes through the feed, and returns the positions.
func readFeedOf(events *EventReader) (found []int64) {
	for events.Next() {
		found = append(found, events.Event().Position)
	}
	return found
}

func TestTheFeedIsReadToTheEndOfTheLog(t *testing.T) {
	calls := start(t, lines(6, event(3), event(5)), lines(8), lines(9, event(9)), lines(9))
	events := calls.Events.Read(context.Background(), &EventReadParams{
		After: 2, Limit: 10, Types: []string{"customer.created", "customer.deleted.v1"},
	})
	defer events.Close()
	mustBe(t, "the positions", readFeedOf(events), []int64{3, 5, 9})
	must(t, events.Err())
	mustBe(t, "the place", []any{events.Position(), events.Epoch()}, []any{int64(9), "e1"})
	mustBe(t, "the data", string(events.Event().Data), `{"n":1}`)
	mustBe(t, "a step more", events.Next(), false)
	for place, after := range []int{2, 6, 8, 9} {
		request := calls.requests[place]
		want := fmt.Sprintf("after=%d&limit=10&types=customer.created%%2Ccustomer.deleted.v1", after)
		mustBe(t, "the query", request.URL.RawQuery, want)
		mustBe(t, "the form", request.Header.Get("Accept"), "application/x-ndjson")
		mustBe(t, "the epoch", request.Header.Get("Log-Epoch"), map[bool]string{true: "e1"}[place > 0])
	}
}

func TestTheFeedBeginsAtTheBeginning(t *testing.T) {
	calls := start(t, lines(0))
	events := calls.Events.Read(context.Background(), nil)
	mustBe(t, "the first step", events.Next(), false)
	must(t, events.Err())
	mustBe(t, "the query", calls.requests[0].URL.RawQuery, "after=0")
	mustBe(t, "the event", events.Event() == nil, true)
}

func TestAnAnswerCutOffIsGoneOnFrom(t *testing.T) {
	whole := event(1) + "\n" + event(2) + "\n"
	cutFeed := func(writer http.ResponseWriter, _ *http.Request) {
		writer.Header().Set("As-Of-Position", "3")
		writer.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(writer, whole+event(3)[:20])
	}
	calls := start(t, cutFeed, lines(3, event(3)), lines(3))
	events := calls.Events.Read(context.Background(), nil)
	mustBe(t, "the positions", readFeedOf(events), []int64{1, 2})
	if !errors.Is(events.Err(), io.ErrUnexpectedEOF) {
		t.Errorf("%v is no io.ErrUnexpectedEOF", events.Err())
	}
	mustBe(t, "the code", failureOf(t, events.Err()).Code, CodeNoAnswer)
	again := &EventReadParams{After: events.Position()}
	mustBe(t, "the positions", readFeedOf(calls.Events.Read(context.Background(), again)), []int64{3})
	mustBe(t, "the query", calls.requests[1].URL.RawQuery, "after=2")
}

func TestALineWithoutItsEndIsNotTaken(t *testing.T) {
	calls := start(t, answer(200, event(1)+"\n"+event(2), "As-Of-Position", "9"))
	events := calls.Events.Read(context.Background(), nil)
	mustBe(t, "the positions", readFeedOf(events), []int64{1})
	mustBe(t, "the code", failureOf(t, events.Err()).Code, CodeNoAnswer)
	mustBe(t, "the position", events.Position(), int64(1))
}

func TestALineIsBounded(t *testing.T) {
	line := func(length int) string {
		head := `{"position":2,"data":{"text":"`
		return head + strings.Repeat("x", length-len(head)-3) + `"}}`
	}
	longest := lineBytesMax - 1 // and its end
	calls := start(t, lines(2, event(1), line(longest)), lines(2), lines(2, line(longest+2)))
	events := calls.Events.Read(context.Background(), nil)
	mustBe(t, "the positions", readFeedOf(events), []int64{1, 2})
	must(t, events.Err())
	mustBe(t, "the length", len(events.Event().Data) > longest-100, true)
	events = calls.Events.Read(context.Background(), nil)
	mustBe(t, "the positions", readFeedOf(events), []int64(nil))
	mustBe(t, "the code", failureOf(t, events.Err()).Code, CodeUnexpectedAnswer)
	if !errors.Is(events.Err(), bufio.ErrTooLong) {
		t.Errorf("%v is no bufio.ErrTooLong", events.Err())
	}
}

func TestWhatIsNoFeedIsAnError(t *testing.T) {
	for name, bad := range map[string]http.HandlerFunc{
		"no position": answer(200, event(1)+"\n"),
		"no events":   lines(9, "<html>jane</html>"),
	} {
		events := start(t, bad).Events.Read(context.Background(), nil)
		mustBe(t, name, readFeedOf(events), []int64(nil))
		mustBe(t, "the code", failureOf(t, events.Err()).Code, CodeUnexpectedAnswer)
		holdsNone(t, events.Err().Error(), "jane")
		mustBe(t, "a step more", events.Next(), false)
	}
}

func TestALogThatWasSetBackIsNoticed(t *testing.T) {
	calls := start(t, lines(40), refuse(412, "epoch_changed"))
	events := calls.Events.Read(context.Background(), &EventReadParams{After: 90})
	mustBe(t, "the first step", events.Next(), false)
	mustBe(t, "the code", failureOf(t, events.Err()).Code, CodeLogSetBack)
	mustBe(t, "the position", events.Position(), int64(90))
	events = calls.Events.Read(context.Background(), &EventReadParams{After: 90, Epoch: "e0"})
	mustBe(t, "the first step", events.Next(), false)
	mustBe(t, "the code", failureOf(t, events.Err()).Code, "epoch_changed")
	mustBe(t, "the epoch", calls.requests[1].Header.Get("Log-Epoch"), "e0")
}

func TestTheFeedIsAskedForAgain(t *testing.T) {
	calls := start(t, refuse(503, "overloaded"), lines(1, event(1)), refuse(429, "rate_limited"),
		lines(1))
	events := calls.Events.Read(context.Background(), nil)
	mustBe(t, "the positions", readFeedOf(events), []int64{1})
	must(t, events.Err())
	mustBe(t, "the number of waits", len(calls.waits), 2)
}

func TestAFeedThatFallsSilentTimesOut(t *testing.T) {
	limit := []Option{Timeout(100 * time.Millisecond), Retries(0)}
	silent := func(_ http.ResponseWriter, request *http.Request) { <-request.Context().Done() }
	for want, hanging := range map[int]http.HandlerFunc{0: silent, 1: hang(event(1) + "\n")} {
		events := startWith(t, limit, hanging).Events.Read(context.Background(), nil)
		mustBe(t, "the number of events", len(readFeedOf(events)), want)
		if !errors.Is(events.Err(), context.DeadlineExceeded) {
			t.Errorf("%v is no context.DeadlineExceeded", events.Err())
		}
	}
}

func TestTheTimeOfTheCallerIsNotThatOfTheServer(t *testing.T) {
	calls := start(t, lines(2, event(1), event(2)), lines(2))
	events := calls.Events.Read(context.Background(), nil)
	mustBe(t, "the first step", events.Next(), true)
	// Here the caller works.
	mustBe(t, "whether a timeout runs", events.answer.quiet.timer.Stop(), false)
	mustBe(t, "the rest", readFeedOf(events), []int64{2})
	must(t, events.Err())
}

func TestTheContextEndsTheFeed(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	calls := start(t, hang(event(1)+"\n"))
	events := calls.Events.Read(ctx, nil)
	mustBe(t, "the first step", events.Next(), true)
	cancel()
	mustBe(t, "the next step", events.Next(), false)
	if !errors.Is(events.Err(), context.Canceled) {
		t.Errorf("%v is no context.Canceled", events.Err())
	}
	events.Close()
}

func TestCloseEndsTheRequest(t *testing.T) {
	left := make(chan struct{})
	calls := start(t, func(writer http.ResponseWriter, request *http.Request) {
		hang(event(1)+"\n")(writer, request)
		close(left)
	})
	events := calls.Events.Read(context.Background(), nil)
	mustBe(t, "the first step", events.Next(), true)
	events.Close()
	events.Close()
	<-left // go test's own timeout ends a wait in vain
	mustBe(t, "the next step", events.Next(), false)
	must(t, events.Err())
}
