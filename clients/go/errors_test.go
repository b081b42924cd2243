package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestAProblemIsRead(t *testing.T) {
	calls := start(t, answer(422, `{"type":"/docs","status":422,"code":"validation_failed",
		"detail":"The request has faults.","requestId":"r-9","currentVersion":null,"errors":[
		{"pointer":"/email","code":"invalid_email","detail":"No address."},
		{"pointer":"/tags/0","code":"blank","detail":"Blank.","more":1}],"new":{}}`))
	_, err := calls.Customers.Create(context.Background(), &CustomerInput{Email: "jane"})
	failure := failureOf(t, err)
	mustBe(t, "the error", []any{failure.Status, failure.Code, failure.Detail, failure.RequestID},
		[]any{422, "validation_failed", "The request has faults.", "r-9"})
	mustBe(t, "the faults", failure.Errors, []Fault{
		{"/email", "invalid_email", "No address."}, {"/tags/0", "blank", "Blank."},
	})
	mustBe(t, "the text", err.Error(), "sdk: POST /user: 422 validation_failed: The request has "+
		"faults. [/email: invalid_email] [/tags/0: blank] (request r-9)")
	mustBe(t, "the cause", errors.Unwrap(err), nil)
}

func TestAVersionAndWhatIsAllowedAreRead(t *testing.T) {
	calls := start(t,
		answer(412, `{"code":"precondition_failed","currentVersion":7}`, "X-Request-Id", "r-2"),
		answer(400, `{"code":"unknown_parameter","allowed":["page","q"]}`))
	_, err := calls.get()
	mustBe(t, "the version", failureOf(t, err).CurrentVersion, int64(7))
	mustBe(t, "the request", failureOf(t, err).RequestID, "r-2")
	_, err = calls.get()
	mustBe(t, "what is allowed", failureOf(t, err).Allowed, []string{"page", "q"})
}

func TestAFewFaultsAreInTheText(t *testing.T) {
	var faults []string
	for place := 0; place < 7; place++ {
		faults = append(faults, fmt.Sprintf(`{"pointer":"/tags/%d","code":"blank"}`, place))
	}
	calls := start(t, answer(422, `{"code":"c","errors":[`+strings.Join(faults, ",")+`]}`))
	_, err := calls.get()
	mustBe(t, "the number of faults", len(failureOf(t, err).Errors), 7)
	holds(t, err.Error(), "[/tags/4: blank] …")
	holdsNone(t, err.Error(), "/tags/5")
}

func TestAnIntermediarysErrorHasSensibleValues(t *testing.T) {
	const page = "<html><h1>Bad Gateway</h1>for jane@example.com</html>"
	for _, mediaType := range []string{"text/html", "application/json", "application/problem+json"} {
		calls := start(t, answer(502, page, "Content-Type", mediaType))
		_, err := calls.get()
		failure := failureOf(t, err)
		mustBe(t, "the error", []any{failure.Status, failure.Code, failure.Detail},
			[]any{502, CodeUnexpectedAnswer, "no problem document: Bad Gateway"})
		holdsNone(t, err.Error(), "html", "jane")
	}
	_, err := start(t, answer(404, `{"code":"customer_not_found"}`, "Content-Type",
		"application/json")).get()
	mustBe(t, "the code of what is no problem", failureOf(t, err).Code, CodeUnexpectedAnswer)
	for _, body := range []string{`{"code":7}`, `{}`, `null`, `[]`} {
		_, err := start(t, answer(404, body)).get()
		mustBe(t, "the code of "+body, failureOf(t, err).Code, CodeUnexpectedAnswer)
		mustBe(t, "the status of "+body, failureOf(t, err).Status, 404)
	}
}

func TestASuccessThatIsNoneIsAnError(t *testing.T) {
	for _, body := range []string{"<html>jane</html>", "", `{"id":7}`, `{"id":"c"} {}`, `[]`} {
		calls := start(t, answer(200, body))
		customer, err := calls.get()
		failure := failureOf(t, err)
		mustBe(t, "the customer", customer == nil, true)
		mustBe(t, "the error of "+body, []any{failure.Status, failure.Code},
			[]any{200, CodeUnexpectedAnswer})
		holdsNone(t, err.Error(), "jane", "html")
	}
}

func TestAnAnswerIsBounded(t *testing.T) {
	// What is too long is not read to its end, which would never come here.
	calls := startWith(t, []Option{Timeout(time.Minute)}, hang(`{"id":"c"} `),
		answer(200, `{"id":"c"}`))
	calls.calls.answerBytesMax = 10
	_, err := calls.get()
	mustBe(t, "the code", failureOf(t, err).Code, CodeUnexpectedAnswer)
	holds(t, err.Error(), "larger than this client reads")
	_, err = calls.get()
	must(t, err)
	_, err = start(t, answer(500, strings.Repeat("x", 1<<20))).get()
	mustBe(t, "the status", failureOf(t, err).Status, 500)
}

func TestAnErrorWrapsWhatFailedAndRepeatsNothing(t *testing.T) {
	calls := start(t)
	calls.server.Close()
	_, err := calls.Customers.List(context.Background(), &CustomerListParams{
		Q: "jane@example.com",
	})
	var network *net.OpError
	if !errors.As(err, &network) {
		t.Errorf("%v wraps no *net.OpError", err)
	}
	failure := failureOf(t, err)
	mustBe(t, "the error", []any{failure.Status, failure.Code}, []any{0, CodeNoAnswer})
	mustBe(t, "the number of waits", len(calls.waits), DefaultRetries)
	holds(t, err.Error(), "sdk: GET /user: no_answer: ", "refused")
	holdsNone(t, allForms(err), "jane", testKey, "Bearer")
}

// failing is a connection that fails with an error which tells too much.
type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

func TestAnUnknownErrorIsNotRepeated(t *testing.T) {
	for _, cause := range []error{
		errors.New("malformed answer for jane"),
		fmt.Errorf("jane: %w", io.ErrUnexpectedEOF),
		fmt.Errorf("jane: %w", context.DeadlineExceeded),
		&url.Error{Op: "Get", URL: "/?q=jane", Err: &url.Error{URL: "/?q=jane", Err: io.EOF}},
	} {
		client, err := NewClient(testKey, HTTPClient(&http.Client{Transport: failing{cause}}),
			Retries(0))
		must(t, err)
		_, err = client.Customers.Get(context.Background(), "cust_1")
		var named *url.Error
		if !errors.Is(err, cause) && !(errors.As(cause, &named) && errors.Is(err, io.EOF)) {
			t.Errorf("%v does not wrap %v", err, cause)
		}
		holdsNone(t, err.Error(), "jane")
	}
}

func TestWhatIsNoJSONIsNotSent(t *testing.T) {
	calls := start(t)
	_, err := calls.Customers.Create(context.Background(), &CustomerInput{
		Metadata: map[string]any{"age": json.Number("jane@example.com")},
	})
	mustBe(t, "the code", failureOf(t, err).Code, CodeInvalidArgument)
	holdsNone(t, err.Error(), "jane")
}

func allForms(value any) string {
	return fmt.Sprintf("%v|%+v|%#v|%s|%q|%d|%x", value, value, value, value, value, value, value)
}
