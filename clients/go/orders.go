package sdk

import (
	"context"
	"net/url"
	"time"
)

// Order is one order of a customer, and what it adds to OrderCount and to what was spent.
type Order struct {
	// OrderID is the shop's own, unique in a tenant.
	OrderID string `json:"orderId"`
	// OrderVersion rises with every change of the order.
	OrderVersion int64 `json:"orderVersion"`
	// Status is pending, placed, paid, completed, cancelled or failed.
	Status string `json:"status"`
	// Currency is ISO 4217; all amounts are in its minor units.
	Currency string `json:"currency"`
	// Total is what was ordered for.
	Total int64 `json:"total"`
	// Captured and Refunded are what was paid, and paid back, so far; nil where the shop does not
	// say.
	Captured *int64    `json:"captured"`
	Refunded *int64    `json:"refunded"`
	PlacedAt time.Time `json:"placedAt"`
	// Test orders count nowhere.
	Test bool `json:"test"`
	// Countable is true where the order is one of OrderCount.
	Countable bool `json:"countable"`
	// Contribution is what it adds to the spend in its currency, and Reason says how, in words.
	Contribution int64  `json:"contribution"`
	Reason       string `json:"reason"`
}

// OrderListParams chooses a page of orders; what is zero is not given.
type OrderListParams struct {
	// Display is how many orders are on a page, 1 to 100; 20 where it is not given.
	Display int
	// Cursor is NextCursor of the page before, of the same customer.
	Cursor string
	// MinPosition is as in CustomerListParams.
	MinPosition int64
}

// OrderList is one page.
type OrderList struct {
	// Count is how many orders the customer has in all.
	Count int64 `json:"count"`
	// NextCursor leads to the next page; nil on the last one.
	NextCursor *string `json:"nextCursor"`
	// Models are the orders of the page, the latest first.
	Models []Order `json:"models"`
}

// Orders reads one page of a customer's orders; nil params are the first page. It is always
// current.
func (s *CustomerService) Orders(
	ctx context.Context, customerID string, params *OrderListParams,
) (*OrderList, error) {
	var page OrderList
	parts := []string{customerID}
	if err := s.calls.read(ctx, listOrders, parts, params.query(), &page); err != nil {
		return nil, err
	}
	return &page, nil
}

// OrdersAll goes through all orders of a customer, the latest first.
func (s *CustomerService) OrdersAll(customerID string) *Iterator[Order] {
	fetch := func(ctx context.Context, cursor string) ([]Order, *string, error) {
		asked := OrderListParams{Display: displayMax, Cursor: cursor}
		page, err := s.Orders(ctx, customerID, &asked)
		if err != nil {
			return nil, nil, err
		}
		return page.Models, page.NextCursor, nil
	}
	return &Iterator[Order]{from: listOrders, fetch: fetch}
}

func (p *OrderListParams) query() url.Values {
	query := url.Values{}
	if p == nil {
		return query
	}
	setCount(query, "display", int64(p.Display))
	setText(query, "cursor", p.Cursor)
	setCount(query, "minPosition", p.MinPosition)
	return query
}
