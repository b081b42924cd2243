package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"sort"
	"strings"
	"testing"
	"time"
)

func TestLiveCustomer(t *testing.T) {
	client, tape := live(t)
	ctx := context.Background()
	made := aLiveCustomer(t, client)
	tape.knows(t, &Customer{})
	mustBe(t, "the version", made.Version, int64(1))
	mustBe(t, "a number", numberText(made.Metadata["n"]), "1152921504606846976")

	found, err := client.Customers.Get(ctx, made.ID)
	must(t, err)
	mustBe(t, "the customer", reflect.DeepEqual(found, made), true)

	changed, err := client.Customers.Update(ctx, made.ID, &CustomerUpdate{
		FirstName: Value("Janet"), Phone: Null[string](), Active: Value(false),
		Tags: Value([]string{"b", "a/b"}), Metadata: Value(map[string]any{"b": true, "n": nil}),
	}, IfMatch(1))
	must(t, err)
	mustBe(t, "the names", *changed.FirstName+" "+*changed.LastName, "Janet Doe")
	mustBe(t, "the phone", changed.Phone == nil, true)
	mustBe(t, "the activity", changed.Active, false)
	mustBe(t, "the metadata", changed.Metadata, map[string]any{"a": "x", "b": true})

	_, err = client.Customers.Update(ctx, made.ID, &CustomerUpdate{LastName: Value("X")}, IfMatch(1))
	mustBe(t, "the code", failureOf(t, err).Code, "precondition_failed")
	mustBe(t, "the version", failureOf(t, err).CurrentVersion, changed.Version)

	for name, option := range map[string]GetOption{
		"the version": AtVersion(1), "the time": AtTime(made.CreatedAt),
	} {
		past, err := client.Customers.Get(ctx, made.ID, option)
		must(t, err)
		mustBe(t, "the first name by "+name, *past.FirstName, "Jane")
	}

	tagged, err := client.Customers.AddTags(ctx, made.ID, []string{"B", "..", "größe"})
	must(t, err)
	mustBe(t, "the tags", tagged.Tags, []string{"a/b", "b", "..", "größe"})
	for _, tag := range []string{"A/B", "GRÖSSE"} {
		tagged, err = client.Customers.RemoveTag(ctx, made.ID, tag)
		must(t, err)
	}
	mustBe(t, "the tags", tagged.Tags, []string{"b", ".."})

	must(t, client.Customers.Delete(ctx, made.ID))
	_, err = client.Customers.Get(ctx, made.ID)
	mustBe(t, "the code", failureOf(t, err).Code, "customer_deleted")
}

func TestLiveAddresses(t *testing.T) {
	client, tape := live(t)
	ctx := context.Background()
	made := aLiveCustomer(t, client)
	added, err := client.Customers.AddAddress(ctx, made.ID, &AddressInput{
		Label: "Office", Line1: "789 Business Blvd", City: "San Francisco", Country: "us",
		IsDefault: true,
	})
	must(t, err)
	tape.knows(t, &Address{})
	mustBe(t, "the address", []any{added.Country, added.IsDefault, added.State == nil},
		[]any{"US", true, true})
	changed, err := client.Customers.UpdateAddress(ctx, made.ID, added.ID, &AddressUpdate{
		Label: Null[string](), State: Value("CA"),
	})
	must(t, err)
	mustBe(t, "the address", []any{changed.Label == nil, *changed.State, changed.City},
		[]any{true, "CA", "San Francisco"})
	must(t, client.Customers.RemoveAddress(ctx, made.ID, added.ID))
	err = client.Customers.RemoveAddress(ctx, made.ID, added.ID)
	mustBe(t, "the code", failureOf(t, err).Code, "address_not_found")
	found, err := client.Customers.Get(ctx, made.ID)
	must(t, err)
	mustBe(t, "the addresses", []any{len(found.Addresses), found.Addresses[0].IsDefault},
		[]any{1, true})
}

func TestLiveKeys(t *testing.T) {
	client, _ := live(t)
	made := aLiveCustomer(t, client)
	key := IdempotencyKey(uniqueEmail(t))
	var versions []int64
	for _, label := range []string{"A", "A", "B"} {
		_, err := client.Customers.AddAddress(context.Background(), made.ID, &AddressInput{
			Label: label, Line1: "1 Elm", City: "Salem", Country: "US",
		}, key)
		if label == "B" {
			mustBe(t, "the code", failureOf(t, err).Code, "idempotency_key_reused")
			continue
		}
		must(t, err)
		found, err := client.Customers.Get(context.Background(), made.ID)
		must(t, err)
		versions = append(versions, found.Version)
	}
	mustBe(t, "the versions", versions, []int64{2, 2})
}

func TestLiveList(t *testing.T) {
	client, tape := live(t)
	ctx := context.Background()
	tag := uniqueEmail(t)
	want := map[string]bool{}
	for place := 0; place < 3; place++ {
		made := aLiveCustomer(t, client)
		_, err := client.Customers.AddTags(ctx, made.ID, []string{tag})
		must(t, err)
		want[made.ID] = true
	}
	params := &CustomerListParams{
		Tag: tag, Tags: []string{"vip"}, Display: 2, MinPosition: client.Position(),
		Since: time.Now().Add(-24 * time.Hour), Active: Value(true), MaxOrders: Value[int64](0),
	}
	page, err := client.Customers.List(ctx, params)
	must(t, err)
	tape.knows(t, &CustomerList{})
	mustBe(t, "the page", []any{page.Count, len(page.Models)}, []any{int64(3), 2})
	it := client.Customers.ListAll(params)
	for it.Next(ctx) {
		delete(want, it.Item().ID)
	}
	must(t, it.Err())
	mustBe(t, "the number of those left out", len(want), 0)
	_, err = client.Customers.List(ctx, &CustomerListParams{Sort: "shoeSize", Display: 101})
	mustBe(t, "the number of faults", len(failureOf(t, err).Errors), 2)
}

func TestLiveHistoryAndExport(t *testing.T) {
	client, tape := live(t)
	ctx := context.Background()
	made := aLiveCustomer(t, client)
	_, err := client.Customers.Update(ctx, made.ID, &CustomerUpdate{Phone: Null[string]()})
	must(t, err)
	page, err := client.Customers.Events(ctx, made.ID, &CustomerEventListParams{After: 1})
	must(t, err)
	tape.knows(t, &CustomerEventList{})
	mustBe(t, "the page", []any{page.Count, len(page.Events)}, []any{int64(2), 1})
	change := page.Events[0].Changes["phone"]
	mustBe(t, "the change", string(change.From)+" "+string(change.To), `"+1-555-0123" null`)
	var types string
	events := client.Customers.EventsAll(made.ID)
	for events.Next(ctx) {
		types += events.Item().Type + " "
	}
	must(t, events.Err())
	mustBe(t, "the types", types, "customer.created.v1 customer.updated.v1 ")
	whole, err := client.Customers.Export(ctx, made.ID)
	must(t, err)
	tape.knows(t, &CustomerExport{})
	mustBe(t, "the export", []any{whole.Customer.ID, len(whole.Events), whole.AsOfPosition},
		[]any{made.ID, 2, client.Position()})
}

func TestLiveOrders(t *testing.T) {
	client, tape := live(t)
	customerID := os.Getenv("CUSTOMERS_ID_WITH_ORDERS")
	if customerID == "" {
		t.Skip("needs CUSTOMERS_ID_WITH_ORDERS, since orders come from elsewhere")
	}
	ctx := context.Background()
	page, err := client.Customers.Orders(ctx, customerID, &OrderListParams{Display: 1})
	must(t, err)
	tape.knows(t, &OrderList{})
	var count, spent int64
	orders := client.Customers.OrdersAll(customerID)
	for orders.Next(ctx) {
		if orders.Item().Countable {
			spent += orders.Item().Contribution
		}
		count++
	}
	must(t, orders.Err())
	customer, err := client.Customers.Get(ctx, customerID)
	must(t, err)
	mustBe(t, "the orders", []int64{count, spent}, []int64{page.Count, customer.TotalSpent})
	if spent == 0 || customer.LastOrderAt == nil {
		t.Error("nothing was spent")
	}
}

func TestLiveFeed(t *testing.T) {
	client, tape := live(t)
	ctx := context.Background()
	made := aLiveCustomer(t, client)
	before := client.Position() - 1
	must(t, client.Customers.Delete(ctx, made.ID))
	events := client.Events.Read(ctx, &EventReadParams{After: before, Limit: 1})
	var seen []string
	for events.Next() {
		tape.knows(t, &Event{})
		if event := events.Event(); event.CustomerID == made.ID {
			seen = append(seen, fmt.Sprint(event.Type, " ", event.Forgotten))
		}
	}
	must(t, events.Err())
	mustBe(t, "the events", seen, []string{"customer.created.v1 true", "customer.deleted.v1 false"})
	mustBe(t, "whether all was read", events.Position() >= client.Position(), true)
	again := client.Events.Read(ctx, &EventReadParams{
		After: events.Position(), Epoch: "another", Types: []string{"customer.created"},
	})
	mustBe(t, "the first step", again.Next(), false)
	mustBe(t, "the code", failureOf(t, again.Err()).Code, "epoch_changed")
}

// TestLiveParameters holds what can be asked for to what the service describes.
func TestLiveParameters(t *testing.T) {
	client, tape := live(t)
	sent := map[string]url.Values{
		"/user":                     everyParameter.query(),
		"/user/{customerId}":        {},
		"/user/{customerId}/orders": (&OrderListParams{1, "c", 1}).query(),
		"/user/{customerId}/events": (&CustomerEventListParams{1, 1, "c"}).query(),
		"/events":                   {"after": {""}, "limit": {""}, "types": {""}},
	}
	AtTime(time.Now())(sent["/user/{customerId}"])
	AtVersion(1)(sent["/user/{customerId}"])
	response, err := client.calls.http.Get(client.calls.baseURL + "/openapi.json")
	must(t, err)
	must(t, response.Body.Close())
	var document struct {
		Paths map[string]struct {
			Get struct {
				Parameters []struct{ Name, In string }
			}
		}
	}
	must(t, json.Unmarshal(tape.last, &document))
	for path, values := range sent {
		var want, got []string
		for _, parameter := range document.Paths[path].Get.Parameters {
			if parameter.In == "query" {
				want = append(want, parameter.Name)
			}
		}
		for name := range values {
			got = append(got, name)
		}
		sort.Strings(want)
		sort.Strings(got)
		mustBe(t, "what "+path+" takes", strings.Join(got, " "), strings.Join(want, " "))
	}
}
