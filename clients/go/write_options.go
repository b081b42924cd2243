package sdk

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
)

const (
	idempotencyKey = "Idempotency-Key"
	keyBytesMax    = 255
	keyRandomBytes = 16
)

// WriteOption adds to one write.
type WriteOption func(http.Header)

// IdempotencyKey is 1 to 255 printable ASCII characters that name a write. The server carries out a
// key once, and answers a repeat as it did the first time, for seven days. Without this option each
// call has a key of its own, which only its own repeats share; give one, such as the id of a job,
// where your program itself may repeat the call.
func IdempotencyKey(key string) WriteOption {
	return func(header http.Header) { header.Set(idempotencyKey, key) }
}

// IfMatch lets a write happen only while the customer has this version, else it fails with
// precondition_failed and the Error's CurrentVersion. Create has no use for it.
func IfMatch(version int64) WriteOption {
	etag := `"` + decimal(version) + `"`
	return func(header http.Header) { header.Set("If-Match", etag) }
}

// completeKey checks the key, and makes one where the caller gave none.
func completeKey(made *request) error {
	given := made.header.Values(idempotencyKey)
	if len(given) > 0 {
		if !isKey(given[0]) {
			const detail = "an Idempotency-Key is 1 to 255 printable ASCII characters"
			return unsendable(made.route, detail, nil)
		}
		return nil
	}
	var drawn [keyRandomBytes]byte
	if _, err := rand.Read(drawn[:]); err != nil {
		return unsendable(made.route, "no random bytes for an Idempotency-Key", err)
	}
	made.header.Set(idempotencyKey, hex.EncodeToString(drawn[:]))
	return nil
}

func isKey(key string) bool {
	for _, each := range []byte(key) {
		if each < ' ' || each > '~' {
			return false
		}
	}
	return key != "" && len(key) <= keyBytesMax
}
