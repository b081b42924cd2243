package sdk

import (
	"context"
	"net/http"
	"strings"
	"testing"
)

// writes are all methods that write.
var writes = map[string]func(*Client, ...WriteOption) error{
	"POST /user": func(client *Client, options ...WriteOption) error {
		_, err := client.Customers.Create(context.Background(), &CustomerInput{}, options...)
		return err
	},
	"PUT /user/c": func(client *Client, options ...WriteOption) error {
		_, err := client.Customers.Update(context.Background(), "c", nil, options...)
		return err
	},
	"DELETE /user/c": func(client *Client, options ...WriteOption) error {
		return client.Customers.Delete(context.Background(), "c", options...)
	},
	"POST /user/c/address": func(client *Client, options ...WriteOption) error {
		_, err := client.Customers.AddAddress(context.Background(), "c", nil, options...)
		return err
	},
	"PUT /user/c/address/a": func(client *Client, options ...WriteOption) error {
		_, err := client.Customers.UpdateAddress(context.Background(), "c", "a", nil, options...)
		return err
	},
	"DELETE /user/c/address/a": func(client *Client, options ...WriteOption) error {
		return client.Customers.RemoveAddress(context.Background(), "c", "a", options...)
	},
	"POST /user/c/tag": func(client *Client, options ...WriteOption) error {
		_, err := client.Customers.AddTags(context.Background(), "c", nil, options...)
		return err
	},
	"DELETE /user/c/tag/t": func(client *Client, options ...WriteOption) error {
		_, err := client.Customers.RemoveTag(context.Background(), "c", "t", options...)
		return err
	},
}

func TestAWriteHasOneKeyOverAllItsAttempts(t *testing.T) {
	seen := map[string]bool{}
	for name, write := range writes {
		calls := start(t, refuse(503, "overloaded"), cut, aCustomer)
		must(t, write(calls.Client))
		for place, request := range calls.requests {
			mustBe(t, "the request", request.Method+" "+request.RequestURI, name)
			mustBe(t, "the body", calls.bodies[place], calls.bodies[0])
			key := request.Header.Get("Idempotency-Key")
			mustBe(t, "the key", key, calls.requests[0].Header.Get("Idempotency-Key"))
			if place == 0 && (len(key) != 32 || seen[key]) {
				t.Errorf("%q is short, or there twice", key)
			}
			seen[key] = true
		}
		mustBe(t, "the number of requests", len(calls.requests), 3)
	}
}

func TestAWriteTakesAKeyAndAVersion(t *testing.T) {
	for name, write := range writes {
		calls := start(t, aCustomer)
		must(t, write(calls.Client, IdempotencyKey("job 7"), IfMatch(7)))
		header := calls.requests[0].Header
		mustBe(t, name+"'s key", header.Values("Idempotency-Key"), []string{"job 7"})
		mustBe(t, name+"'s condition", header.Values("If-Match"), []string{`"7"`})
	}
}

func TestWhatIsNoKeyIsNotSent(t *testing.T) {
	calls := start(t)
	for _, key := range []string{"", "a\nb", "é", strings.Repeat("k", 256)} {
		err := calls.Customers.Delete(context.Background(), "cust_1", IdempotencyKey(key))
		mustBe(t, "the code", failureOf(t, err).Code, CodeInvalidArgument)
	}
}

func TestAReadHasNoKey(t *testing.T) {
	calls := start(t, aCustomer)
	_, err := calls.get()
	must(t, err)
	header := calls.requests[0].Header
	mustBe(t, "the key", header.Values("Idempotency-Key"), []string(nil))
	mustBe(t, "the token", header.Get("Authorization"), "Bearer "+testKey)
}

func TestAPartStaysOnePart(t *testing.T) {
	for part, want := range map[string]string{
		"a/b":     "a%2Fb",
		"100%":    "100%25",
		"%2F":     "%252F",
		"a b":     "a%20b",
		"größe":   "gr%C3%B6%C3%9Fe",
		"a?b#c":   "a%3Fb%23c",
		"../user": "..%2Fuser",
		"...":     "...",
		"a;b+c":   "a%3Bb+c",
	} {
		calls := start(t, aCustomer, aCustomer)
		_, err := calls.Customers.RemoveTag(context.Background(), "cust_1", part)
		must(t, err)
		mustBe(t, "the path", calls.requests[0].RequestURI, "/user/cust_1/tag/"+want)
		_, err = calls.Customers.Get(context.Background(), part)
		must(t, err)
		mustBe(t, "the path", calls.requests[1].RequestURI, "/user/"+want)
	}
}

func TestWhatWouldBeAnotherPathIsNotSent(t *testing.T) {
	calls := start(t)
	for _, part := range []string{"", ".", ".."} {
		_, err := calls.Customers.RemoveTag(context.Background(), "cust_1", part)
		mustBe(t, "the code", failureOf(t, err).Code, CodeInvalidArgument)
		err = calls.Customers.Delete(context.Background(), part)
		mustBe(t, "the code", failureOf(t, err).Code, CodeInvalidArgument)
		_, err = calls.Customers.Export(context.Background(), part)
		mustBe(t, "the code", failureOf(t, err).Code, CodeInvalidArgument)
	}
}

func TestABaseURLMayHaveAPrefix(t *testing.T) {
	calls := start(t, aCustomer)
	client, err := NewClient(testKey, BaseURL(calls.server.URL+"/api/v1/"))
	must(t, err)
	_, err = client.Customers.Get(context.Background(), "a/b")
	must(t, err)
	mustBe(t, "the path", calls.requests[0].RequestURI, "/api/v1/user/a%2Fb")
}

func TestARedirectIsNotFollowed(t *testing.T) {
	elsewhere := start(t)
	calls := start(t, func(writer http.ResponseWriter, request *http.Request) {
		http.Redirect(writer, request, elsewhere.server.URL, http.StatusTemporaryRedirect)
	})
	_, err := calls.Customers.Create(context.Background(), &CustomerInput{})
	mustBe(t, "the status", failureOf(t, err).Status, 307)
	mustBe(t, "the code", failureOf(t, err).Code, CodeUnexpectedAnswer)
}
