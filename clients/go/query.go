package sdk

import (
	"net/url"
	"strconv"
	"time"
)

func setText(query url.Values, name, value string) {
	if value != "" {
		query.Set(name, value)
	}
}

func setCount(query url.Values, name string, value int64) {
	if value != 0 {
		query.Set(name, decimal(value))
	}
}

func setTime(query url.Values, name string, value time.Time) {
	if !value.IsZero() {
		query.Set(name, timeText(value))
	}
}

// setBound tells 0 from nothing.
func setBound(query url.Values, name string, value Optional[int64]) {
	if value.isSet && !value.isNull {
		query.Set(name, decimal(value.value))
	}
}

func timeText(at time.Time) string {
	return at.UTC().Format(time.RFC3339Nano)
}

func decimal(value int64) string {
	return strconv.FormatInt(value, 10)
}
