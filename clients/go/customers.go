package sdk

import (
	"context"
	"net/url"
	"time"
)

// CustomerService reads and writes customers. Its methods return an [*Error] where they fail; for a
// customer that is not in the tenant its code is customer_not_found, for a deleted one
// customer_deleted.
type CustomerService struct {
	calls *caller
}

// Create makes a customer. The code is email_taken where another living customer has the address.
func (s *CustomerService) Create(
	ctx context.Context, input *CustomerInput, options ...WriteOption,
) (*Customer, error) {
	var made Customer
	if err := s.calls.write(ctx, createCustomer, nil, input.body(), &made, options); err != nil {
		return nil, err
	}
	return &made, nil
}

// Get reads a customer: as it is now, or with AtTime or AtVersion as it was.
func (s *CustomerService) Get(
	ctx context.Context, customerID string, options ...GetOption,
) (*Customer, error) {
	query := url.Values{}
	for _, option := range options {
		option(query)
	}
	var found Customer
	if err := s.calls.read(ctx, getCustomer, []string{customerID}, query, &found); err != nil {
		return nil, err
	}
	return &found, nil
}

// GetOption chooses what Get shows. The two options exclude each other.
type GetOption func(url.Values)

// AtTime shows the customer as it was at a time, orders and spending included; before its creation
// the code is customer_not_found.
func AtTime(at time.Time) GetOption {
	return func(query url.Values) { query.Set("at", timeText(at)) }
}

// AtVersion shows the customer as it was at a version, from 1; for one that it has not reached the
// code is customer_not_found.
func AtVersion(version int64) GetOption {
	return func(query url.Values) { query.Set("version", decimal(version)) }
}

// Update changes a customer, and returns it whole. An update that changes nothing makes no version.
func (s *CustomerService) Update(
	ctx context.Context, customerID string, update *CustomerUpdate, options ...WriteOption,
) (*Customer, error) {
	return s.change(ctx, updateCustomer, []string{customerID}, update.patch(), options)
}

// Delete deletes a customer for good: its personal data becomes unreadable everywhere, its orders
// stay without a name. To keep the customer, Update it with Active: Value(false).
func (s *CustomerService) Delete(
	ctx context.Context, customerID string, options ...WriteOption,
) error {
	return s.calls.write(ctx, deleteCustomer, []string{customerID}, nil, nil, options)
}

// AddTags adds tags to those that are there.
func (s *CustomerService) AddTags(
	ctx context.Context, customerID string, tags []string, options ...WriteOption,
) (*Customer, error) {
	if tags == nil {
		tags = []string{}
	}
	body := map[string][]string{"tags": tags}
	return s.change(ctx, addTags, []string{customerID}, body, options)
}

// RemoveTag removes a tag, in any case of its letters; one that is not there changes nothing. The
// tags "." and ".." cannot be removed so: Update Tags instead.
func (s *CustomerService) RemoveTag(
	ctx context.Context, customerID, tag string, options ...WriteOption,
) (*Customer, error) {
	return s.change(ctx, removeTag, []string{customerID, tag}, nil, options)
}

// change is a write that answers the customer.
func (s *CustomerService) change(
	ctx context.Context, to route, parts []string, body any, options []WriteOption,
) (*Customer, error) {
	var changed Customer
	if err := s.calls.write(ctx, to, parts, body, &changed, options); err != nil {
		return nil, err
	}
	return &changed, nil
}
