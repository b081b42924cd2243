package sdk

import (
	"context"
	"testing"
)

func TestAnUpdateSaysAbsentNullAndValue(t *testing.T) {
	for _, each := range []struct {
		update *CustomerUpdate
		want   string
	}{
		{nil, `{}`},
		{&CustomerUpdate{}, `{}`},
		{&CustomerUpdate{FirstName: Value("Janet"), Phone: Null[string]()},
			`{"firstName":"Janet","phone":null}`},
		{&CustomerUpdate{FirstName: Value("")}, `{"firstName":""}`},
		{&CustomerUpdate{Active: Value(false)}, `{"active":false}`},
		{&CustomerUpdate{Tags: Value([]string{"vip"})}, `{"tags":["vip"]}`},
		{&CustomerUpdate{Tags: Value[[]string](nil)}, `{"tags":[]}`},
		{&CustomerUpdate{Tags: Null[[]string]()}, `{"tags":null}`},
		{&CustomerUpdate{Metadata: Value(map[string]any{"a": 1, "b": nil})},
			`{"metadata":{"a":1,"b":null}}`},
		{&CustomerUpdate{Metadata: Value[map[string]any](nil)}, `{"metadata":{}}`},
		{&CustomerUpdate{Metadata: Null[map[string]any]()}, `{"metadata":null}`},
		{&CustomerUpdate{Email: Value("a@example.com"), LastName: Null[string]()},
			`{"email":"a@example.com","lastName":null}`},
	} {
		calls := start(t, aCustomer)
		_, err := calls.Customers.Update(context.Background(), "c", each.update)
		must(t, err)
		sameJSON(t, calls.bodies[0], each.want)
		mustBe(t, "the type", calls.requests[0].Header.Get("Content-Type"), "application/json")
	}
}

func TestAnAddressUpdateDoesToo(t *testing.T) {
	calls := start(t, aCustomer, aCustomer)
	update := &AddressUpdate{Label: Null[string](), City: Value("Salem"), IsDefault: Value(true)}
	_, err := calls.Customers.UpdateAddress(context.Background(), "c", "a", update)
	must(t, err)
	sameJSON(t, calls.bodies[0], `{"label":null,"city":"Salem","isDefault":true}`)
	update = &AddressUpdate{
		Line1: Value("1 Elm"), State: Null[string](), PostalCode: Value("9"), Country: Value("US"),
	}
	_, err = calls.Customers.UpdateAddress(context.Background(), "c", "a", update)
	must(t, err)
	sameJSON(t, calls.bodies[1], `{"line1":"1 Elm","state":null,"postalCode":"9","country":"US"}`)
}

func TestANewCustomerSaysOnlyWhatIsGiven(t *testing.T) {
	whole := &CustomerInput{
		Email: "jane@example.com", FirstName: "Jane", LastName: "Doe", Phone: "+1-555-0123",
		Tags: []string{"vip"}, Metadata: map[string]any{"a": true}, Inactive: true,
		Addresses: []AddressInput{{Line1: "456 Oak Ave", City: "Portland", Country: "US"}},
	}
	calls := start(t, aCustomer, aCustomer, aCustomer)
	for place, input := range []*CustomerInput{whole, {Email: "jane@example.com"}, nil} {
		_, err := calls.Customers.Create(context.Background(), input)
		must(t, err)
		sameJSON(t, calls.bodies[place], []string{
			`{"email":"jane@example.com","firstName":"Jane","lastName":"Doe",
			"phone":"+1-555-0123","tags":["vip"],"metadata":{"a":true},"active":false,
			"addresses":[{"line1":"456 Oak Ave","city":"Portland","country":"US"}]}`,
			`{"email":"jane@example.com"}`,
			`{"email":""}`,
		}[place])
	}
}

func TestTagsAndAddressesAreSent(t *testing.T) {
	calls := start(t, aCustomer, aCustomer, aCustomer)
	_, err := calls.Customers.AddTags(context.Background(), "c", []string{"a", "b"})
	must(t, err)
	sameJSON(t, calls.bodies[0], `{"tags":["a","b"]}`)
	_, err = calls.Customers.AddTags(context.Background(), "c", nil)
	must(t, err)
	sameJSON(t, calls.bodies[1], `{"tags":[]}`)
	_, err = calls.Customers.AddAddress(context.Background(), "c", &AddressInput{
		Label: "Home", Line1: "456 Oak Ave", City: "Portland", State: "OR", PostalCode: "97201",
		Country: "US", IsDefault: true,
	})
	must(t, err)
	sameJSON(t, calls.bodies[2], `{"label":"Home","line1":"456 Oak Ave","city":"Portland",
		"state":"OR","postalCode":"97201","country":"US","isDefault":true}`)
}

func TestAnAnswerMayHoldNullsAndMoreThanIsKnown(t *testing.T) {
	calls := start(t, answer(200, `{"id":"cust_1","firstName":null,"lastName":"","tags":null,
		"metadata":{"n":9007199254740993,"d":0.10,"s":"x","b":true,"none":null},"addresses":null,
		"lastOrderAt":null,"totalSpent":9223372036854775807,"spentByCurrency":null,
		"createdAt":"2024-03-10T08:00:00.123Z","updatedAt":null,"loyalty":{"points":3}}`))
	customer, err := calls.get()
	must(t, err)
	mustBe(t, "the first name", customer.FirstName == nil, true)
	mustBe(t, "the last name", *customer.LastName, "")
	mustBe(t, "the spending", customer.TotalSpent, int64(9223372036854775807))
	mustBe(t, "the last order", customer.LastOrderAt == nil, true)
	mustBe(t, "the time", timeText(customer.CreatedAt), "2024-03-10T08:00:00.123Z")
	metadata := customer.Metadata
	mustBe(t, "a number", numberText(metadata["n"]), "9007199254740993")
	mustBe(t, "a fraction", numberText(metadata["d"]), "0.10")
	mustBe(t, "the rest", []any{metadata["s"], metadata["b"], metadata["none"]},
		[]any{"x", true, nil})
}

func numberText(value any) string {
	number, ok := value.(interface{ String() string })
	if !ok {
		return "no json.Number"
	}
	return number.String()
}
