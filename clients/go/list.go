package sdk

import (
	"context"
	"net/url"
	"strconv"
	"time"
)

// displayMax is the most that the server puts on a page.
const displayMax = 100

// CustomerListParams chooses and orders customers. All that is given must hold; what is zero is not
// given.
type CustomerListParams struct {
	// Page is from 1. It excludes Cursor.
	Page int
	// Display is how many customers are on a page, 1 to 100; 20 where it is not given.
	Display int
	// Cursor is NextCursor of the page before, with the same filter and Sort.
	Cursor string
	// Sort is field:asc or field:desc, several by comma. Fields: createdAt, updatedAt, email,
	// firstName, lastName, orderCount, totalSpent, lastOrderAt. Default createdAt:desc.
	Sort string
	// Q are words, each of which must occur in first name, last name or e-mail address.
	Q string
	// Tag is one that customers must have; case does not matter.
	Tag string
	// Tags are more of them: customers must have all.
	Tags []string
	// Since and Until: created strictly after, and strictly before.
	Since time.Time
	Until time.Time
	// UpdatedSince: changed strictly after.
	UpdatedSince time.Time
	// Active chooses active or deactivated customers, absent or Null both.
	Active Optional[bool]
	// Email is exactly this address.
	Email string
	// MinSpent and MaxSpent bound TotalSpent, in minor units; both are included.
	MinSpent Optional[int64]
	MaxSpent Optional[int64]
	// MinOrders and MaxOrders bound OrderCount; both are included.
	MinOrders Optional[int64]
	MaxOrders Optional[int64]
	// MinPosition makes the server wait until the list shows this position of the log, such as
	// Client.Position; after two seconds it answers projection_lag, which is tried again.
	MinPosition int64
}

// CustomerList is one page.
type CustomerList struct {
	// Count is how many customers match in all, exactly.
	Count int64 `json:"count"`
	// Page is which page this is, also where a cursor led to it.
	Page int64 `json:"page"`
	// Display is how many customers a page has, as asked for.
	Display int64 `json:"display"`
	// NextCursor leads to the next page; nil on the last one.
	NextCursor *string `json:"nextCursor"`
	// Models are the customers of the page, in the order asked for.
	Models []CustomerItem `json:"models"`
}

// List reads one page of customers; nil is the first page of all. Past the end there are no Models.
func (s *CustomerService) List(
	ctx context.Context, params *CustomerListParams,
) (*CustomerList, error) {
	var page CustomerList
	if err := s.calls.read(ctx, listCustomers, nil, params.query(), &page); err != nil {
		return nil, err
	}
	return &page, nil
}

// ListAll goes through all customers that match, from the page that params say on. Where Display is
// not given it is 100.
func (s *CustomerService) ListAll(params *CustomerListParams) *Iterator[CustomerItem] {
	var asked CustomerListParams
	if params != nil {
		asked = *params
	}
	if asked.Display == 0 {
		asked.Display = displayMax
	}
	fetch := func(ctx context.Context, cursor string) ([]CustomerItem, *string, error) {
		if cursor != "" {
			asked.Page, asked.Cursor = 0, cursor
		}
		page, err := s.List(ctx, &asked)
		if err != nil {
			return nil, nil, err
		}
		return page.Models, page.NextCursor, nil
	}
	return &Iterator[CustomerItem]{from: listCustomers, fetch: fetch}
}

func (p *CustomerListParams) query() url.Values {
	query := url.Values{}
	if p == nil {
		return query
	}
	setCount(query, "page", int64(p.Page))
	setCount(query, "display", int64(p.Display))
	setText(query, "cursor", p.Cursor)
	setText(query, "sort", p.Sort)
	setText(query, "q", p.Q)
	setText(query, "tag", p.Tag)
	for _, tag := range p.Tags {
		query.Add("tag", tag)
	}
	setTime(query, "since", p.Since)
	setTime(query, "until", p.Until)
	setTime(query, "updatedSince", p.UpdatedSince)
	if p.Active.isSet && !p.Active.isNull {
		query.Set("active", strconv.FormatBool(p.Active.value))
	}
	setText(query, "email", p.Email)
	setBound(query, "minSpent", p.MinSpent)
	setBound(query, "maxSpent", p.MaxSpent)
	setBound(query, "minOrders", p.MinOrders)
	setBound(query, "maxOrders", p.MaxOrders)
	setCount(query, "minPosition", p.MinPosition)
	return query
}
