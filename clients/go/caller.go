package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	// answerBytesMax is for one answer. The largest page is one of a history: 100 events that each
	// change everything a customer can hold, before and after.
	answerBytesMax = 128 << 20
	// exportBytesMax is for all that is held about one customer.
	exportBytesMax = 1 << 30
	// problemBytesMax is what is read of an answer that is an error.
	problemBytesMax = 64 << 10
)

// caller sends requests for all services of a client.
//
// Invariant: the key is only in the closure authorize, so printing this prints no key.
type caller struct {
	baseURL   string
	http      *http.Client
	timeout   time.Duration
	retries   int
	authorize func(http.Header)
	place     *place

	answerBytesMax int64
	wait           func(context.Context, time.Duration) error
	now            func() time.Time
	random         func() float64 // 0 to 1
}

func newCaller(chosen settings, authorize func(http.Header)) *caller {
	client := *chosen.http
	// The API redirects nowhere, and a body must not be sent to wherever somebody else says.
	client.CheckRedirect = func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}
	return &caller{
		baseURL:        chosen.baseURL,
		http:           &client,
		timeout:        chosen.timeout,
		retries:        chosen.retries,
		authorize:      authorize,
		place:          &place{},
		answerBytesMax: answerBytesMax,
		wait:           pause,
		now:            time.Now,
		random:         chance,
	}
}

// request is what every attempt of a call sends.
type request struct {
	route  route
	url    string
	header http.Header
	body   []byte
}

// request puts a call together; a body of nil is none.
func (c *caller) request(
	to route, parts []string, query url.Values, body any,
) (*request, error) {
	path, err := to.path(parts...)
	if err != nil {
		return nil, unsendable(to, err.Error(), err)
	}
	made := &request{route: to, url: c.baseURL + path, header: http.Header{}}
	if len(query) > 0 {
		made.url += "?" + query.Encode()
	}
	made.header.Set("Accept", "application/json")
	made.header.Set("User-Agent", "customers-sdk-go")
	if body != nil {
		if made.body, err = json.Marshal(body); err != nil {
			return nil, unsendable(to, "the body cannot be written as JSON", err)
		}
		made.header.Set("Content-Type", "application/json")
	}
	return made, nil
}

// read sends a request that changes nothing, and decodes the answer.
func (c *caller) read(
	ctx context.Context, from route, parts []string, query url.Values, into any,
) error {
	made, err := c.request(from, parts, query, nil)
	if err != nil {
		return err
	}
	return c.repeat(ctx, func() *Error { return c.fetch(ctx, made, c.answerBytesMax, into) })
}

// write sends a request that changes something, under one idempotency key for all its attempts.
func (c *caller) write(
	ctx context.Context, to route, parts []string, body, into any, options []WriteOption,
) error {
	made, err := c.request(to, parts, nil, body)
	if err != nil {
		return err
	}
	for _, option := range options {
		option(made.header)
	}
	if err := completeKey(made); err != nil {
		return err
	}
	return c.repeat(ctx, func() *Error { return c.fetch(ctx, made, c.answerBytesMax, into) })
}

// fetch is one attempt, within the timeout; into is nil where no body is expected.
func (c *caller) fetch(ctx context.Context, made *request, bytesMax int64, into any) *Error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	response, failure := c.send(ctx, made)
	if failure != nil {
		return failure
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, bytesMax+1))
	switch {
	case err != nil:
		return noAnswer(made.route, err)
	case int64(len(body)) > bytesMax:
		return unexpected(made.route, response, "the answer is larger than this client reads", nil)
	case into == nil:
		return nil
	}
	if err := decode(body, into); err != nil {
		return unexpected(made.route, response, "the answer is not the JSON that is expected", err)
	}
	return nil
}

// send is one attempt up to the headers of a success; the caller closes the body.
func (c *caller) send(ctx context.Context, made *request) (*http.Response, *Error) {
	var body io.Reader
	if made.body != nil {
		body = bytes.NewReader(made.body)
	}
	sent, err := http.NewRequestWithContext(ctx, made.route.method, made.url, body)
	if err != nil {
		return nil, unsendable(made.route, "the request cannot be made", err)
	}
	sent.Header = made.header.Clone()
	c.authorize(sent.Header)
	response, err := c.http.Do(sent)
	if err != nil {
		return nil, noAnswer(made.route, err)
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		defer response.Body.Close()
		return nil, refusal(made.route, response, c.now())
	}
	if made.route.method != http.MethodGet {
		c.place.wrote(response.Header)
	}
	return response, nil
}

// decode reads exactly one JSON value; numbers of unknown type stay exact, as json.Number.
func decode(body []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more after the value")
	}
	return nil
}
