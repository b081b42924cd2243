package sdk

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"testing"
)

// tape keeps the body of the last answer.
type tape struct{ last []byte }

func (l *tape) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	l.last, err = io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(l.last))
	return response, nil
}

// knows tells that a type has every field of the last answer.
func (l *tape) knows(t *testing.T, into any) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(l.last))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		t.Errorf("%T does not hold the answer: %v", into, err)
	}
}

// live is a client of a real service.
func live(t *testing.T) (*Client, *tape) {
	t.Helper()
	base, token := os.Getenv("COMMERCE_URL"), os.Getenv("COMMERCE_TOKEN")
	if base == "" || token == "" {
		t.Skip("needs COMMERCE_URL and COMMERCE_TOKEN")
	}
	record := &tape{}
	client, err := NewClient(token, BaseURL(base), HTTPClient(&http.Client{Transport: record}))
	must(t, err)
	return client, record
}

func uniqueEmail(t *testing.T) string {
	var drawn [8]byte
	_, err := rand.Read(drawn[:])
	must(t, err)
	return "jane." + hex.EncodeToString(drawn[:]) + "@example.com"
}

// aLiveCustomer is deleted when the test ends.
func aLiveCustomer(t *testing.T, client *Client) *Customer {
	t.Helper()
	made, err := client.Customers.Create(context.Background(), &CustomerInput{
		Email: uniqueEmail(t), FirstName: "Jane", LastName: "Doe", Phone: "+1-555-0123",
		Tags: []string{"VIP", "a/b", "100%"}, Metadata: map[string]any{"a": "x", "n": int64(1) << 60},
		Addresses: []AddressInput{{Label: "Home", Line1: "456 Oak Ave", City: "Portland",
			State: "OR", PostalCode: "97201", Country: "US"}},
	})
	must(t, err)
	t.Cleanup(func() {
		err := client.Customers.Delete(context.Background(), made.ID)
		if err != nil && failureOf(t, err).Code != "customer_deleted" {
			t.Error(err)
		}
	})
	return made
}
