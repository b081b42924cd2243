package sdk

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"time"
)

// Event is one event of the feed.
type Event struct {
	// Position is its place in the log of all tenants, so positions skip numbers.
	Position int64 `json:"position"`
	// Epoch names the log that Position belongs to.
	Epoch string `json:"epoch"`
	// ID is opaque, and the same as in Kafka.
	ID string `json:"id"`
	// Type is such as customer.updated.v1; skip types that you do not know.
	Type string `json:"type"`
	// CustomerID is whom it is about, and Version the one of this customer that it made.
	CustomerID string    `json:"customerId"`
	Version    int64     `json:"version"`
	Time       time.Time `json:"time"`
	// Actor is who asked for it.
	Actor Actor `json:"actor"`
	// Data is as published, an object whose shape Type tells: /schemas/TYPE.json on the server.
	Data json.RawMessage `json:"data"`
	// Forgotten: the customer was deleted, and the personal fields of Data are blank.
	Forgotten bool `json:"forgotten"`
	// Damaged: the event cannot be read, and Data is empty. Go on with other customers only.
	Damaged bool `json:"damaged"`
}

// EventReadParams says from where the feed is read; what is zero is not given.
type EventReadParams struct {
	// After is a position: only events after it. 0 is the beginning of the log.
	After int64
	// Epoch is that of the log that After belongs to. Given, the code is epoch_changed where an
	// operator restored another log meanwhile: read again from the beginning.
	Epoch string
	// Limit is how many events are asked for at a time, 1 to 10000; 1000 where it is not given.
	Limit int
	// Types leaves out all others: customer.created.v1, or customer.created for any version.
	Types []string
}

// EventService reads the events of all customers of the tenant.
type EventService struct {
	calls *caller
}

// EventReader goes through the feed. It is for one goroutine.
//
//	events := client.Events.Read(ctx, &sdk.EventReadParams{After: position})
//	defer events.Close()
//	for events.Next() {
//		use(events.Event())
//	}
//	if err := events.Err(); err != nil {
//		return err
//	}
//	position = events.Position() // to go on from, later
type EventReader struct {
	ctx      context.Context
	calls    *caller
	limit    int
	types    string
	epoch    string
	asked    int64 // what the present answer comes after
	position int64
	answer   *stream
	event    *Event
	isDone   bool
	err      error
}

// Read goes through the feed to the end of the log, in as many requests as it takes. Events are
// decoded one by one, as they arrive. The context is for all of it.
func (s *EventService) Read(ctx context.Context, params *EventReadParams) *EventReader {
	var given EventReadParams
	if params != nil {
		given = *params
	}
	return &EventReader{
		ctx:      ctx,
		calls:    s.calls,
		limit:    given.Limit,
		types:    strings.Join(given.Types, ","),
		epoch:    given.Epoch,
		position: given.After,
	}
}

// Next goes to the next event. It is false at the end of the log, and after an error.
func (r *EventReader) Next() bool {
	for r.err == nil && !r.isDone {
		if r.answer == nil {
			r.err = r.ask()
			continue
		}
		line, failure := r.answer.next()
		switch {
		case failure != nil:
			r.fail(failure)
		case line == nil:
			r.turn()
		default:
			return r.take(line)
		}
	}
	return false
}

// Event is where the last Next went to; nil before the first.
func (r *EventReader) Event() *Event {
	return r.event
}

// Err is why Next was false: nil at the end of the log, else an [*Error].
func (r *EventReader) Err() error {
	return r.err
}

// Position is what to go on from: the After of another Read. All events up to it were given, also
// where Next is false after an error or was not called to the end.
func (r *EventReader) Position() int64 {
	return r.position
}

// Epoch names the log that Position belongs to, empty before the first answer. Keep it with the
// position, and a restored log will be noticed.
func (r *EventReader) Epoch() string {
	return r.epoch
}

// Close ends the reading; needed where Next was not called until it was false. It may be called
// again.
func (r *EventReader) Close() {
	r.isDone = true
	if r.answer != nil {
		r.answer.close()
		r.answer = nil
	}
}

// ask opens the answer that comes after the position.
func (r *EventReader) ask() error {
	query := url.Values{"after": {decimal(r.position)}}
	setCount(query, "limit", int64(r.limit))
	setText(query, "types", r.types)
	made, err := r.calls.request(readFeed, nil, query, nil)
	if err != nil {
		return err
	}
	made.header.Set("Accept", "application/x-ndjson")
	if r.epoch != "" {
		made.header.Set("Log-Epoch", r.epoch)
	}
	r.asked = r.position
	return r.calls.repeat(r.ctx, func() *Error {
		answer, failure := r.calls.open(r.ctx, made)
		if failure != nil {
			return failure
		}
		r.answer, r.epoch = answer, answer.epoch
		return nil
	})
}

// take makes a line the present event.
func (r *EventReader) take(line []byte) bool {
	var event Event
	if err := decode(line, &event); err != nil {
		r.fail(&Error{
			route: readFeed, Code: CodeUnexpectedAnswer, Detail: "a line is no event", cause: err,
		})
		return false
	}
	r.event, r.position = &event, event.Position
	return true
}

// turn ends an answer that was read to its end. Up to its position nothing is left out, and where
// that is what was asked for, there is no more.
func (r *EventReader) turn() {
	position := r.answer.position
	r.answer.close()
	r.answer = nil
	switch {
	case position < r.asked:
		const detail = "the log ends before the position to read from"
		r.fail(&Error{route: readFeed, Code: CodeLogSetBack, Detail: detail})
	case position == r.asked:
		r.isDone = true
	default:
		r.position = position
	}
}

func (r *EventReader) fail(failure *Error) {
	r.err = failure
	if r.answer != nil {
		r.answer.close()
		r.answer = nil
	}
}
