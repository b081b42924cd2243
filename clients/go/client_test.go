package sdk

import (
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestAClientPrintsWithoutItsKey(t *testing.T) {
	client, err := NewClient(testKey, BaseURL("https://customers.example.com/"))
	must(t, err)
	mustBe(t, "its text", client.String(), "sdk.Client(https://customers.example.com)")
	for _, form := range []string{allForms(client), allForms(*client)} {
		one := "sdk.Client(https://customers.example.com)"
		mustBe(t, "its forms", form, strings.Repeat(one+"|", 6)+one)
		holdsNone(t, form, testKey)
	}
	for _, part := range []any{
		client.Customers, *client.Customers, client.Events, *client.Events, *client.calls, Client{},
		struct{ Client *Client }{client}, []any{client},
	} {
		holdsNone(t, allForms(part), testKey, hex.EncodeToString([]byte(testKey)))
	}
}

func TestAClientIsMadeOnlyOfWhatCanWork(t *testing.T) {
	for _, key := range []string{"", " ", "a b", "a\nb", "é"} {
		if _, err := NewClient(key); err == nil {
			t.Errorf("%q is no key", key)
		}
	}
	for _, base := range []string{
		"", "customers.example.com", "ftp://example.com", "https://", "https://a:secret@example.com",
		"https://example.com?a=b", "https://example.com#a", "https://exa mple.com", "/v1",
	} {
		_, err := NewClient(testKey, BaseURL(base))
		if err == nil {
			t.Fatalf("%q is no base URL", base)
		}
		holdsNone(t, err.Error(), "secret", "example")
	}
	for name, option := range map[string]Option{
		"no client": HTTPClient(nil), "no time": Timeout(0), "negative time": Timeout(-1),
		"negative count": Retries(-1), "too many": Retries(RetriesMax + 1),
	} {
		if _, err := NewClient(testKey, option); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestAGivenHTTPClientIsUsedAndNotChanged(t *testing.T) {
	given := &http.Client{Timeout: time.Minute}
	client, err := NewClient(testKey, HTTPClient(given), Timeout(time.Second), Retries(RetriesMax))
	must(t, err)
	mustBe(t, "the timeout", client.calls.http.Timeout, time.Minute)
	mustBe(t, "its redirects", given.CheckRedirect == nil, true)
	mustBe(t, "the limits", []any{client.calls.timeout, client.calls.retries},
		[]any{time.Second, RetriesMax})
}
