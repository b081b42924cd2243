package sdk

import (
	"errors"
	"fmt"
	"net/http"
)

// Client calls one installation of the customer API with one key. It is safe for concurrent use:
// make one and keep it. It prints without its key.
type Client struct {
	// Customers reads and writes customers.
	Customers *CustomerService
	// Events reads what happened to all customers of the tenant.
	Events *EventService

	calls *caller
}

// NewClient returns a client that sends apiKey as its bearer token. Nothing is sent yet, so a key
// that the server does not know is found out by the first call.
func NewClient(apiKey string, options ...Option) (*Client, error) {
	if !isVisible(apiKey) {
		return nil, errors.New("sdk: an API key is one or more visible ASCII characters")
	}
	chosen := defaultSettings()
	for _, option := range options {
		if err := option(&chosen); err != nil {
			return nil, err
		}
	}
	calls := newCaller(chosen, func(header http.Header) {
		header.Set("Authorization", "Bearer "+apiKey)
	})
	return &Client{
		Customers: &CustomerService{calls},
		Events:    &EventService{calls},
		calls:     calls,
	}, nil
}

// Position is the highest place in the log that a write of this client was answered with, 0 before
// the first. Give it as MinPosition and a list shows these writes. Where an operator restored an
// older log, it starts again with the first write to that one.
func (c Client) Position() int64 {
	return c.calls.place.last()
}

// String names the installation, never the key.
func (c Client) String() string {
	if c.calls == nil {
		return "sdk.Client()"
	}
	return "sdk.Client(" + c.calls.baseURL + ")"
}

// Format prints the client as String does, whatever the verb.
func (c Client) Format(state fmt.State, _ rune) {
	// A fmt.State that cannot be written to is told of by fmt itself.
	_, _ = fmt.Fprint(state, c.String())
}

// isVisible tells whether a text is fit for a header as one word.
func isVisible(text string) bool {
	for _, each := range []byte(text) {
		if each <= ' ' || each > '~' {
			return false
		}
	}
	return text != ""
}
