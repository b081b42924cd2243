package sdk

import "context"

// Address is a postal address of a customer.
type Address struct {
	// ID is opaque, and sorts by the time it was made.
	ID string `json:"id"`
	// Label is as it was typed; nil where it was not given. So are State and PostalCode.
	Label *string `json:"label"`
	// Line1 is street and number.
	Line1      string  `json:"line1"`
	City       string  `json:"city"`
	State      *string `json:"state"`
	PostalCode *string `json:"postalCode"`
	// Country is ISO 3166-1 alpha-2 in upper case.
	Country string `json:"country"`
	// IsDefault is true for exactly one of a customer's addresses.
	IsDefault bool `json:"isDefault"`
}

// AddressInput is a new address. Line1, City and Country (ISO 3166-1 alpha-2) are required; what is
// empty is not given.
type AddressInput struct {
	Label      string `json:"label,omitempty"`
	Line1      string `json:"line1"`
	City       string `json:"city"`
	State      string `json:"state,omitempty"`
	PostalCode string `json:"postalCode,omitempty"`
	Country    string `json:"country"`
	// IsDefault takes the mark from the address that has it. The first address has it anyway.
	IsDefault bool `json:"isDefault,omitempty"`
}

// AddressUpdate changes what it names, as CustomerUpdate does. Label, State and PostalCode can be
// cleared.
type AddressUpdate struct {
	Label      Optional[string]
	Line1      Optional[string]
	City       Optional[string]
	State      Optional[string]
	PostalCode Optional[string]
	Country    Optional[string]
	// IsDefault true takes the mark from the address that has it.
	IsDefault Optional[bool]
}

// patch is the update as JSON Merge Patch (RFC 7396).
func (u *AddressUpdate) patch() map[string]any {
	patch := map[string]any{}
	if u == nil {
		return patch
	}
	put(patch, "label", u.Label)
	put(patch, "line1", u.Line1)
	put(patch, "city", u.City)
	put(patch, "state", u.State)
	put(patch, "postalCode", u.PostalCode)
	put(patch, "country", u.Country)
	put(patch, "isDefault", u.IsDefault)
	return patch
}

// AddAddress adds an address to a customer.
func (s *CustomerService) AddAddress(
	ctx context.Context, customerID string, input *AddressInput, options ...WriteOption,
) (*Address, error) {
	if input == nil {
		input = &AddressInput{}
	}
	return s.address(ctx, addAddress, []string{customerID}, input, options)
}

// UpdateAddress changes an address. The code is address_not_found where the customer has no such
// address.
func (s *CustomerService) UpdateAddress(
	ctx context.Context, customerID, addressID string, update *AddressUpdate,
	options ...WriteOption,
) (*Address, error) {
	parts := []string{customerID, addressID}
	return s.address(ctx, updateAddress, parts, update.patch(), options)
}

// RemoveAddress removes an address. Where it was the default, the oldest one left becomes it.
func (s *CustomerService) RemoveAddress(
	ctx context.Context, customerID, addressID string, options ...WriteOption,
) error {
	parts := []string{customerID, addressID}
	return s.calls.write(ctx, removeAddress, parts, nil, nil, options)
}

// address is a write that answers an address.
func (s *CustomerService) address(
	ctx context.Context, to route, parts []string, body any, options []WriteOption,
) (*Address, error) {
	var written Address
	if err := s.calls.write(ctx, to, parts, body, &written, options); err != nil {
		return nil, err
	}
	return &written, nil
}
