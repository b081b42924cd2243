package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"customers/sdk"
)

// What a service answers, as far as the examples go: by method and path.
var answers = map[string]string{
	"GET /user": `{"count":1,"page":1,"display":50,"nextCursor":null,"models":[
		{"id":"cust_1","email":"jane@example.com","totalSpent":45600}]}`,
	"POST /user":       `{"id":"cust_1","email":"jane@example.com","firstName":"Jane","version":1}`,
	"PUT /user/cust_1": `{"id":"cust_1","firstName":"Janet","phone":null,"version":2}`,
	"GET /events":      `{"position":4712,"type":"customer.created.v1","customerId":"cust_1"}` + "\n",
	"POST /user/cust_1/address": `{"type":"/docs","title":"Taken","status":409,
		"detail":"Another customer has this e-mail address.","code":"email_taken"}`,
}

// service is a server for examples, and a client of it.
func service() (*sdk.Client, func()) {
	server := httptest.NewServer(http.HandlerFunc(
		func(writer http.ResponseWriter, request *http.Request) {
			body := answers[request.Method+" "+request.URL.Path]
			writer.Header().Set("As-Of-Position", "4712")
			writer.Header().Set("Log-Epoch", "5f0c")
			if request.URL.Query().Get("after") == "4712" {
				body = ""
			}
			if strings.Contains(body, "email_taken") {
				writer.Header().Set("Content-Type", "application/problem+json")
				writer.WriteHeader(http.StatusConflict)
			}
			_, _ = io.WriteString(writer, body)
		}))
	client, err := sdk.NewClient("your_key", sdk.BaseURL(server.URL))
	if err != nil {
		panic(err)
	}
	return client, server.Close
}

func ExampleCustomerService_List() {
	client, done := service()
	defer done()
	ctx := context.Background()

	customers, err := client.Customers.List(ctx, &sdk.CustomerListParams{
		Tag:     "vip",
		Sort:    "totalSpent:desc",
		Display: 50,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(customers.Count, customers.Models[0].TotalSpent)
	// Output: 1 45600
}

func ExampleCustomerService_Create() {
	client, done := service()
	defer done()
	ctx := context.Background()

	customer, err := client.Customers.Create(ctx, &sdk.CustomerInput{
		Email:     "jane@example.com",
		FirstName: "Jane",
		LastName:  "Doe",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(customer.ID, *customer.FirstName, customer.Version)
	// Output: cust_1 Jane 1
}

func ExampleCustomerService_Update() {
	client, done := service()
	defer done()
	ctx, id, version := context.Background(), "cust_1", int64(1)

	customer, err := client.Customers.Update(ctx, id, &sdk.CustomerUpdate{
		FirstName: sdk.Value("Janet"),
		Phone:     sdk.Null[string](),
		Metadata:  sdk.Value(map[string]any{"segment": "vip", "source": nil}),
	}, sdk.IfMatch(version))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(*customer.FirstName, customer.Phone == nil, customer.Version)
	// Output: Janet true 2
}

func ExampleCustomerService_ListAll() {
	client, done := service()
	defer done()

	err := func(ctx context.Context) error {
		it := client.Customers.ListAll(&sdk.CustomerListParams{
			Tag:         "vip",
			MinPosition: client.Position(),
		})
		for it.Next(ctx) {
			fmt.Println(it.Item().Email)
		}
		if err := it.Err(); err != nil {
			return err
		}
		return nil
	}(context.Background())
	fmt.Println(err)
	// Output:
	// jane@example.com
	// <nil>
}

func ExampleEventService_Read() {
	client, done := service()
	defer done()
	position, epoch := int64(4711), ""

	err := func(ctx context.Context) error {
		events := client.Events.Read(ctx, &sdk.EventReadParams{After: position, Epoch: epoch})
		defer events.Close()
		for events.Next() {
			fmt.Println(events.Event().Type, events.Event().CustomerID)
		}
		if err := events.Err(); err != nil {
			return err
		}
		position, epoch = events.Position(), events.Epoch()
		return nil
	}(context.Background())
	fmt.Println(position, epoch, err)
	// Output:
	// customer.created.v1 cust_1
	// 4712 5f0c <nil>
}

func ExampleError() {
	client, done := service()
	defer done()
	_, err := client.Customers.AddAddress(context.Background(), "cust_1", nil)

	var failure *sdk.Error
	if errors.As(err, &failure) && failure.Code == "email_taken" {
		fmt.Println("another customer has this address")
	}
	// Output: another customer has this address
}
