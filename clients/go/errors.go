package sdk

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Codes of errors that the API did not send itself.
const (
	// CodeNoAnswer: no whole answer came. What failed is wrapped: errors.Is(err,
	// context.DeadlineExceeded) is true after a timeout. A write may have happened; the same
	// request with the same IdempotencyKey settles that.
	CodeNoAnswer = "no_answer"
	// CodeUnexpectedAnswer: what answered does not speak as the API does, for example a proxy.
	CodeUnexpectedAnswer = "unexpected_answer"
	// CodeInvalidArgument: nothing was sent, since it could not be.
	CodeInvalidArgument = "invalid_argument"
	// CodeLogSetBack: the log is shorter than the position to read from: an older one was restored.
	CodeLogSetBack = "log_set_back"
)

// faultsShown in the text of an error; Errors has all.
const faultsShown = 5

// Error is everything that fails in a call. Its text holds no key, and nothing that was sent; what
// it wraps may tell more, so log the Error itself.
type Error struct {
	// Status is that of the answer, 0 where there was none.
	Status int
	// Code is stable, to switch on: one of the API, such as email_taken, or a Code constant.
	Code string
	// Detail says for people what is the matter.
	Detail string
	// RequestID names the request in the server's log; empty where there was no answer.
	RequestID string
	// Errors are the faults of the request, all of them, with 400 and 422.
	Errors []Fault
	// Allowed is what may be given instead, with unknown_parameter and some others.
	Allowed []string
	// RetryAfter is what the server asked to wait, 0 where it did not say.
	RetryAfter time.Duration
	// CurrentVersion of the customer, with precondition_failed, else 0.
	CurrentVersion int64

	route    route
	saysWhen bool // Retry-After was there, if only with 0
	cause    error
}

// Fault is one thing that is wrong with a request.
type Fault struct {
	// Pointer is a JSON Pointer into the body, or the name of a query parameter or header.
	Pointer string `json:"pointer"`
	// Code is stable, such as invalid_email.
	Code string `json:"code"`
	// Detail is a sentence for people.
	Detail string `json:"detail"`
}

// Error names the operation, the status, the code and what is the matter.
func (e *Error) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "sdk: %s: ", e.route)
	if e.Status != 0 {
		fmt.Fprintf(&text, "%d ", e.Status)
	}
	fmt.Fprintf(&text, "%s: %s", e.Code, e.Detail)
	for place, fault := range e.Errors {
		if place == faultsShown {
			text.WriteString(" …")
			break
		}
		fmt.Fprintf(&text, " [%s: %s]", fault.Pointer, fault.Code)
	}
	if e.RequestID != "" {
		fmt.Fprintf(&text, " (request %s)", e.RequestID)
	}
	return text.String()
}

// Unwrap is what failed below, such as context.DeadlineExceeded or a *net.OpError; nil where the
// server refused.
func (e *Error) Unwrap() error {
	return e.cause
}

// interrupted is the failure of a call whose context ended in the wait after e.
func (e *Error) interrupted(err error) *Error {
	last := e.Code
	if e.Status != 0 {
		last = fmt.Sprintf("%d %s", e.Status, e.Code)
	}
	failure := noAnswer(e.route, err)
	failure.Detail += ", in the wait after " + last
	failure.RequestID = e.RequestID
	return failure
}

func unsendable(to route, detail string, cause error) *Error {
	return &Error{route: to, Code: CodeInvalidArgument, Detail: detail, cause: cause}
}

// noAnswer is for what failed on the way.
func noAnswer(to route, err error) *Error {
	var named *url.Error // it repeats the URL, in which a search may name somebody
	for errors.As(err, &named) {
		err = named.Err
	}
	return &Error{route: to, Code: CodeNoAnswer, Detail: shown(err), cause: err}
}

// unexpected is for an answer that is none of the API's.
func unexpected(to route, response *http.Response, detail string, cause error) *Error {
	return &Error{
		route:     to,
		Status:    response.StatusCode,
		Code:      CodeUnexpectedAnswer,
		Detail:    detail,
		RequestID: response.Header.Get("X-Request-Id"),
		cause:     cause,
	}
}

// shown is the text of an error that is known to repeat nothing of a request or an answer.
func shown(err error) string {
	var network net.Error
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var certificate x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &network):
		return network.Error()
	case errors.As(err, &authority):
		return authority.Error()
	case errors.As(err, &host):
		return host.Error()
	case errors.As(err, &certificate):
		return certificate.Error()
	case errors.As(err, &record):
		return record.Error()
	}
	for _, known := range []error{context.Canceled, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return fmt.Sprintf("the request failed (%T)", err)
}

// problem is RFC 9457 problem details, as far as they are used.
type problem struct {
	Code           string   `json:"code"`
	Detail         string   `json:"detail"`
	RequestID      string   `json:"requestId"`
	Errors         []Fault  `json:"errors"`
	Allowed        []string `json:"allowed"`
	CurrentVersion int64    `json:"currentVersion"`
}

// refusal reads an answer that is no success.
func refusal(to route, response *http.Response, now time.Time) *Error {
	detail := strings.TrimSpace("no problem document: " + http.StatusText(response.StatusCode))
	failure := unexpected(to, response, detail, nil)
	failure.RetryAfter, failure.saysWhen = retryAfter(response.Header, now)
	body, err := io.ReadAll(io.LimitReader(response.Body, problemBytesMax))
	if err != nil {
		failure.cause = noAnswer(to, err).cause
		return failure
	}
	mediaType, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/problem+json" {
		return failure
	}
	var told problem
	if err := json.Unmarshal(body, &told); err != nil || told.Code == "" {
		failure.cause = err
		return failure
	}
	failure.Code, failure.Detail = told.Code, told.Detail
	failure.Errors, failure.Allowed = told.Errors, told.Allowed
	failure.CurrentVersion = told.CurrentVersion
	if told.RequestID != "" {
		failure.RequestID = told.RequestID
	}
	return failure
}
