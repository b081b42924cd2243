package sdk

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// DefaultBaseURL is where a server on this machine answers.
	DefaultBaseURL = "http://127.0.0.1:8080"
	// DefaultTimeout is for one attempt, from the first byte sent to the last one read.
	DefaultTimeout = 30 * time.Second
	// DefaultRetries is how often a call is repeated at most.
	DefaultRetries = 3
	// RetriesMax is the most that Retries accepts.
	RetriesMax = 10
)

// Option sets up a client; NewClient returns its error.
type Option func(*settings) error

type settings struct {
	baseURL string
	http    *http.Client
	timeout time.Duration
	retries int
}

func defaultSettings() settings {
	return settings{DefaultBaseURL, &http.Client{}, DefaultTimeout, DefaultRetries}
}

// BaseURL is where the API answers, such as https://customers.example.com or, behind a prefix,
// https://example.com/api/v1. It has no user, query or fragment.
func BaseURL(base string) Option {
	return func(chosen *settings) error {
		parsed, err := url.Parse(base)
		if err != nil || (parsed.Scheme != "http" && parsed.Scheme != "https") ||
			parsed.Host == "" || parsed.User != nil || strings.ContainsAny(base, "?#") {
			// The value is not repeated, since it may hold a password.
			return errors.New("sdk: a base URL is http or https, without user, query or fragment")
		}
		chosen.baseURL = strings.TrimRight(base, "/")
		return nil
	}
}

// HTTPClient is used in place of a plain http.Client, for example for its Transport. It is copied,
// and the copy follows no redirect. A Timeout of its own also ends the reading of the feed.
func HTTPClient(client *http.Client) Option {
	return func(chosen *settings) error {
		if client == nil {
			return errors.New("sdk: the HTTP client is nil")
		}
		chosen.http = client
		return nil
	}
}

// Timeout is for each attempt, reading the body included; of the feed it is for each line. To
// limit a call with all its attempts and waits, give its context a deadline.
func Timeout(limit time.Duration) Option {
	return func(chosen *settings) error {
		if limit <= 0 {
			return errors.New("sdk: a timeout is longer than nothing")
		}
		chosen.timeout = limit
		return nil
	}
}

// Retries is how often a call is repeated at most, 0 to RetriesMax, where it failed for a passing
// reason.
func Retries(count int) Option {
	return func(chosen *settings) error {
		if count < 0 || count > RetriesMax {
			return fmt.Errorf("sdk: retries are 0 to %d", RetriesMax)
		}
		chosen.retries = count
		return nil
	}
}
