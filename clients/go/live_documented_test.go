package sdk_test

import (
	"context"
	"os"
	"testing"

	"customers/sdk"
)

// TestTheDocumentedUse is the published reference's own snippet, word for word.
func TestTheDocumentedUse(t *testing.T) {
	url, token := os.Getenv("COMMERCE_URL"), os.Getenv("COMMERCE_TOKEN")
	if url == "" || token == "" {
		t.Skip("needs COMMERCE_URL and COMMERCE_TOKEN")
	}
	client, err := sdk.NewClient(token, sdk.BaseURL(url))
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()

	customers, err := client.Customers.List(ctx, &sdk.CustomerListParams{
		Tag:     "vip",
		Sort:    "totalSpent:desc",
		Display: 50,
	})
	if err != nil {
		t.Fatal(err)
	}

	customer, err := client.Customers.Create(ctx, &sdk.CustomerInput{
		Email:     "jane@example.com",
		FirstName: "Jane",
		LastName:  "Doe",
	})
	if err != nil {
		t.Fatal(err)
	}

	if err := client.Customers.Delete(ctx, customer.ID); err != nil {
		t.Error(err)
	}
	if customers.Display != 50 || int64(len(customers.Models)) > customers.Count {
		t.Errorf("%d of %d customers on a page of %d",
			len(customers.Models), customers.Count, customers.Display)
	}
	for place, model := range customers.Models {
		if place > 0 && model.TotalSpent > customers.Models[place-1].TotalSpent {
			t.Errorf("the list is not by totalSpent: %v", customers.Models)
		}
	}
	if *customer.FirstName != "Jane" || *customer.LastName != "Doe" {
		t.Errorf("another customer was made: %v", customer)
	}
}
