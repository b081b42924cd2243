package sdk

import (
	"context"
	"net/url"
	"testing"
	"time"
)

// everyParameter has a value for each field.
var everyParameter = CustomerListParams{
	Page: 2, Display: 50, Cursor: "c", Sort: "totalSpent:desc,email:asc", Q: "zoë & co",
	Tag: "vip", Tags: []string{"a/b", "early"},
	Since: time.Date(2024, 3, 10, 9, 0, 0, 123e6, time.FixedZone("", 3600)),
	Until: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), UpdatedSince: time.Unix(0, 0),
	Active: Value(false), Email: "jane+1@example.com", MinSpent: Value[int64](0),
	MaxSpent: Value[int64](1), MinOrders: Value[int64](2), MaxOrders: Value[int64](0),
	MinPosition: 4711,
}

func TestEveryParameterIsSent(t *testing.T) {
	calls := start(t, answer(200, `{}`))
	_, err := calls.Customers.List(context.Background(), &everyParameter)
	must(t, err)
	mustBe(t, "the query", calls.requests[0].URL.Query(), url.Values{
		"page": {"2"}, "display": {"50"}, "cursor": {"c"}, "sort": {"totalSpent:desc,email:asc"},
		"q": {"zoë & co"}, "tag": {"vip", "a/b", "early"}, "since": {"2024-03-10T08:00:00.123Z"},
		"until": {"2025-01-01T00:00:00Z"}, "updatedSince": {"1970-01-01T00:00:00Z"},
		"active": {"false"}, "email": {"jane+1@example.com"}, "minSpent": {"0"},
		"maxSpent": {"1"}, "minOrders": {"2"}, "maxOrders": {"0"}, "minPosition": {"4711"},
	})
}

func TestWhatIsNotGivenIsNotSent(t *testing.T) {
	calls := start(t, answer(200, `{}`), answer(200, `{}`), answer(200, `{}`), answer(200, `{}`))
	null := &CustomerListParams{Active: Null[bool](), MaxOrders: Null[int64]()}
	for _, params := range []*CustomerListParams{nil, {}, null} {
		_, err := calls.Customers.List(context.Background(), params)
		must(t, err)
	}
	_, err := calls.get()
	must(t, err)
	for _, request := range calls.requests {
		mustBe(t, "the query", request.URL.RawQuery, "")
	}
}

func TestGetAsksForATimeOrAVersion(t *testing.T) {
	calls := start(t, aCustomer, aCustomer)
	at := time.Date(2024, 6, 15, 16, 22, 0, 0, time.FixedZone("", 7200))
	_, err := calls.Customers.Get(context.Background(), "c", AtTime(at))
	must(t, err)
	mustBe(t, "the query", calls.requests[0].URL.Query(), url.Values{"at": {"2024-06-15T14:22:00Z"}})
	_, err = calls.Customers.Get(context.Background(), "c", AtVersion(7))
	must(t, err)
	mustBe(t, "the query", calls.requests[1].URL.RawQuery, "version=7")
}

func TestAllPagesAreGoneThrough(t *testing.T) {
	calls := start(t,
		answer(200, `{"models":[{"id":"a"},{"id":"b"}],"nextCursor":"+/1"}`),
		answer(200, `{"models":[],"nextCursor":"2"}`),
		answer(200, `{"models":[{"id":"c"}],"nextCursor":null}`))
	params := &CustomerListParams{Tag: "vip", Page: 3, MinPosition: 5}
	var found string
	it := calls.Customers.ListAll(params)
	for it.Next(context.Background()) {
		found += it.Item().ID
	}
	must(t, it.Err())
	mustBe(t, "what was found", found, "abc")
	mustBe(t, "a step more", it.Next(context.Background()), false)
	mustBe(t, "the given params", *params, CustomerListParams{Tag: "vip", Page: 3, MinPosition: 5})
	for place, want := range []string{
		"display=100&minPosition=5&page=3&tag=vip",
		"cursor=%2B%2F1&display=100&minPosition=5&tag=vip",
		"cursor=2&display=100&minPosition=5&tag=vip",
	} {
		mustBe(t, "the query", calls.requests[place].URL.RawQuery, want)
	}
}

func TestAnErrorEndsTheGoingThrough(t *testing.T) {
	calls := start(t, answer(200, `{"models":[{"id":"a"}],"nextCursor":"1"}`),
		refuse(400, "invalid_cursor"))
	it := calls.Customers.ListAll(nil)
	mustBe(t, "the first step", it.Next(context.Background()), true)
	for range [2]int{} {
		mustBe(t, "the next step", it.Next(context.Background()), false)
		mustBe(t, "the code", failureOf(t, it.Err()).Code, "invalid_cursor")
	}
}

func TestACursorThatLeadsNowhereIsAnError(t *testing.T) {
	same := answer(200, `{"models":[{"id":"a"}],"nextCursor":"1"}`)
	calls := start(t, same, same)
	it := calls.Customers.ListAll(&CustomerListParams{Display: 1})
	mustBe(t, "the first step", it.Next(context.Background()), true)
	mustBe(t, "the second step", it.Next(context.Background()), false)
	mustBe(t, "the code", failureOf(t, it.Err()).Code, CodeUnexpectedAnswer)
	holds(t, it.Err().Error(), "GET /user")
}

func TestOrdersAndEventsHavePagesToo(t *testing.T) {
	calls := start(t,
		answer(200, `{"models":[{"orderId":"a"}],"nextCursor":"1"}`),
		answer(200, `{"models":[{"orderId":"b","captured":null,"refunded":5}],"nextCursor":null}`),
		answer(200, `{"events":[{"id":"c","data":{}}],"nextCursor":"1"}`),
		answer(200, `{"events":[{"id":"d","changes":{"phone":{"from":null,"to":"1"}}}],
			"nextCursor":null,"archivedTo":3}`),
		answer(200, `{}`), answer(200, `{}`))
	var found string
	orders := calls.Customers.OrdersAll("c")
	for orders.Next(context.Background()) {
		found += orders.Item().OrderID
	}
	must(t, orders.Err())
	mustBe(t, "captured and refunded", []any{orders.Item().Captured == nil, *orders.Item().Refunded},
		[]any{true, int64(5)})
	events := calls.Customers.EventsAll("c")
	for events.Next(context.Background()) {
		found += events.Item().ID
	}
	must(t, events.Err())
	mustBe(t, "what was found", found, "abcd")
	change := events.Item().Changes["phone"]
	mustBe(t, "the change", string(change.From)+" "+string(change.To), `null "1"`)
	_, err := calls.Customers.Orders(context.Background(), "c",
		&OrderListParams{Display: 5, MinPosition: 7})
	must(t, err)
	_, err = calls.Customers.Events(context.Background(), "c",
		&CustomerEventListParams{After: 3, Display: 5})
	must(t, err)
	for place, want := range []string{
		"/user/c/orders?display=100", "/user/c/orders?cursor=1&display=100",
		"/user/c/events?display=100", "/user/c/events?cursor=1&display=100",
		"/user/c/orders?display=5&minPosition=7", "/user/c/events?after=3&display=5",
	} {
		mustBe(t, "the request", calls.requests[place].RequestURI, want)
	}
}

func TestAnExportThatWasCutIsAskedForAgain(t *testing.T) {
	calls := start(t, cut, answer(200, `{"customer":{"id":"c"},"asOfPosition":7,
		"events":[{"id":"e"}],"orders":[{"orderId":"o"}]}`))
	whole, err := calls.Customers.Export(context.Background(), "c")
	must(t, err)
	mustBe(t, "the export", []any{whole.Customer.ID, whole.Events[0].ID, whole.Orders[0].OrderID},
		[]any{"c", "e", "o"})
}
