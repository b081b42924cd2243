package sdk

import (
	"context"
	"encoding/json"
	"net/url"
	"time"
)

// CustomerEvent is one event of a customer's history.
type CustomerEvent struct {
	// ID is opaque.
	ID string `json:"id"`
	// Position is its place in the log of all customers.
	Position int64 `json:"position"`
	// Version is the one of the customer that it made.
	Version int64 `json:"version"`
	// Type is such as customer.updated.v1; skip types that you do not know.
	Type string    `json:"type"`
	Time time.Time `json:"time"`
	// Actor is who asked for it.
	Actor Actor `json:"actor"`
	// RequestID is that of the request that made it.
	RequestID string `json:"requestId"`
	// Data is as published, an object whose shape Type tells: /schemas/TYPE.json on the server.
	Data json.RawMessage `json:"data"`
	// Changes are the fields of the customer that became another value, by their names in JSON.
	Changes map[string]FieldChange `json:"changes"`
}

// Actor is who asked for an event.
type Actor struct {
	// Type is token, jwt or system.
	Type string `json:"type"`
	// ID is opaque.
	ID string `json:"id"`
	// Name is that of a token, given by an operator; nil where there is none.
	Name *string `json:"name"`
}

// FieldChange is what a field was before an event, and after it, as JSON; null is nothing.
type FieldChange struct {
	From json.RawMessage `json:"from"`
	To   json.RawMessage `json:"to"`
}

// CustomerEventListParams chooses a page of history; what is zero is not given.
type CustomerEventListParams struct {
	// After is a version: only events after it. It excludes Cursor.
	After int64
	// Display is how many events are on a page, 1 to 100; 20 where it is not given.
	Display int
	// Cursor is NextCursor of the page before, of the same customer.
	Cursor string
}

// CustomerEventList is one page.
type CustomerEventList struct {
	// Count is how many events the customer has in all.
	Count int64 `json:"count"`
	// Events are those of the page, the oldest first.
	Events []CustomerEvent `json:"events"`
	// NextCursor leads to the next page; nil on the last one.
	NextCursor *string `json:"nextCursor"`
	// ArchivedTo is a version: events up to it are archived, and left out. 0 where none are.
	ArchivedTo int64 `json:"archivedTo"`
}

// Events reads one page of what happened to a customer; nil params are the beginning. It is always
// current.
func (s *CustomerService) Events(
	ctx context.Context, customerID string, params *CustomerEventListParams,
) (*CustomerEventList, error) {
	var page CustomerEventList
	parts := []string{customerID}
	if err := s.calls.read(ctx, listEvents, parts, params.query(), &page); err != nil {
		return nil, err
	}
	return &page, nil
}

// EventsAll goes through the whole history of a customer, the oldest event first. Archived events
// are left out: see CustomerEventList.
func (s *CustomerService) EventsAll(customerID string) *Iterator[CustomerEvent] {
	fetch := func(ctx context.Context, cursor string) ([]CustomerEvent, *string, error) {
		asked := CustomerEventListParams{Display: displayMax, Cursor: cursor}
		page, err := s.Events(ctx, customerID, &asked)
		if err != nil {
			return nil, nil, err
		}
		return page.Events, page.NextCursor, nil
	}
	return &Iterator[CustomerEvent]{from: listEvents, fetch: fetch}
}

func (p *CustomerEventListParams) query() url.Values {
	query := url.Values{}
	if p == nil {
		return query
	}
	setCount(query, "after", p.After)
	setCount(query, "display", int64(p.Display))
	setText(query, "cursor", p.Cursor)
	return query
}
