package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

const testKey = "ctk_top-secret"

// harness is a client and the server it calls. It waits for nothing, and notes how long it would
// have.
type harness struct {
	*Client
	server   *httptest.Server
	mutex    sync.Mutex
	requests []*http.Request
	bodies   []string
	waits    []time.Duration
}

// start serves one answer after the other; a request more than that fails the test.
func start(t *testing.T, answers ...http.HandlerFunc) *harness {
	t.Helper()
	return startWith(t, nil, answers...)
}

func startWith(t *testing.T, options []Option, answers ...http.HandlerFunc) *harness {
	t.Helper()
	made := &harness{}
	made.server = httptest.NewServer(http.HandlerFunc(
		func(writer http.ResponseWriter, request *http.Request) {
			count := made.note(t, request)
			if count > len(answers) {
				t.Errorf("request %d is one too many: %s", count, request.RequestURI)
				writer.WriteHeader(http.StatusTeapot)
				return
			}
			answers[count-1](writer, request)
		}))
	t.Cleanup(made.server.Close)
	client, err := NewClient(testKey, append([]Option{BaseURL(made.server.URL)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	client.calls.random = func() float64 { return 1 }
	client.calls.wait = func(_ context.Context, length time.Duration) error {
		made.waits = append(made.waits, length)
		return nil
	}
	made.Client = client
	return made
}

func (h *harness) note(t *testing.T, request *http.Request) int {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		t.Error(err)
	}
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.requests = append(h.requests, request)
	h.bodies = append(h.bodies, string(body))
	return len(h.requests)
}

// answer is a status and a JSON body, with headers by name and value.
func answer(status int, body string, headers ...string) http.HandlerFunc {
	return func(writer http.ResponseWriter, _ *http.Request) {
		writer.Header().Set("Content-Type", "application/json")
		if status >= 400 {
			writer.Header().Set("Content-Type", "application/problem+json")
		}
		for place := 0; place < len(headers); place += 2 {
			writer.Header().Set(headers[place], headers[place+1])
		}
		writer.WriteHeader(status)
		_, _ = io.WriteString(writer, body) // the caller may have left
	}
}

func problemOf(status int, code string) string {
	return fmt.Sprintf(`{"status":%d,"code":%q,"detail":"No.","requestId":"r-1"}`, status, code)
}

func refuse(status int, code string, headers ...string) http.HandlerFunc {
	return answer(status, problemOf(status, code), headers...)
}

var aCustomer = answer(200, `{"id":"cust_1","email":"jane@example.com","version":1}`)

// cut ends the connection in the middle of an answer.
func cut(writer http.ResponseWriter, _ *http.Request) {
	writer.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(writer, `{"id":"cust_1",`)
}

// hang begins an answer, and goes on with it only when the caller has left.
func hang(begin string) http.HandlerFunc {
	return func(writer http.ResponseWriter, request *http.Request) {
		writer.Header().Set("As-Of-Position", "9")
		_, _ = io.WriteString(writer, begin)
		writer.(http.Flusher).Flush()
		<-request.Context().Done()
	}
}

// get calls Get, which is a read like any other.
func (h *harness) get() (*Customer, error) {
	return h.Customers.Get(context.Background(), "cust_1")
}

func failureOf(t *testing.T, err error) *Error {
	t.Helper()
	var failure *Error
	if !errors.As(err, &failure) {
		t.Fatalf("%v (%T) is no *Error", err, err)
	}
	return failure
}

func mustBe(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) {
		t.Errorf("%s is %#v, and not %#v", what, got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sameJSON(t *testing.T, got, want string) {
	t.Helper()
	var ours, theirs any
	must(t, json.Unmarshal([]byte(got), &ours))
	must(t, json.Unmarshal([]byte(want), &theirs))
	mustBe(t, "the JSON", ours, theirs)
}

func holds(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not hold %q", text, part)
		}
	}
}

func holdsNone(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(text, part) {
			t.Errorf("%q holds %q", text, part)
		}
	}
}
