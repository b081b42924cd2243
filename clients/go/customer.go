package sdk

import "time"

// Customer is a customer, whole.
type Customer struct {
	// ID is opaque, and sorts by the time it was made.
	ID string `json:"id"`
	// Email is in lower case, unique among the living customers of a tenant.
	Email string `json:"email"`
	// FirstName is as it was typed; nil where it was not given. So are LastName and Phone.
	FirstName *string `json:"firstName"`
	LastName  *string `json:"lastName"`
	Phone     *string `json:"phone"`
	// Metadata are the caller's own keys: strings, booleans, nil, and json.Number for numbers.
	Metadata map[string]any `json:"metadata"`
	// Addresses are in the order in which they were added. Of any, exactly one is the default.
	Addresses []Address `json:"addresses"`
	// OrderCount counts orders that are placed, paid or completed, test orders left out.
	OrderCount int64 `json:"orderCount"`
	// TotalSpent is in minor units of the tenant's currency.
	TotalSpent int64 `json:"totalSpent"`
	// SpentByCurrency is in minor units, by ISO 4217 code.
	SpentByCurrency map[string]int64 `json:"spentByCurrency"`
	// LastOrderAt is when the latest counted order was placed; nil where there is none.
	LastOrderAt *time.Time `json:"lastOrderAt"`
	// Tags differ in more than case, and have the spelling that came first.
	Tags []string `json:"tags"`
	// Active is false after a deactivation: still readable, listed and counted.
	Active    bool      `json:"active"`
	CreatedAt time.Time `json:"createdAt"`
	// UpdatedAt is the time of the latest event about the customer, recorded orders included.
	UpdatedAt time.Time `json:"updatedAt"`
	// Version counts the events about the customer, from 1; it is what IfMatch takes.
	Version int64 `json:"version"`
}

// CustomerItem is a customer as lists show it. Its fields mean what they mean in Customer.
type CustomerItem struct {
	ID          string     `json:"id"`
	Email       string     `json:"email"`
	FirstName   *string    `json:"firstName"`
	LastName    *string    `json:"lastName"`
	OrderCount  int64      `json:"orderCount"`
	TotalSpent  int64      `json:"totalSpent"`
	LastOrderAt *time.Time `json:"lastOrderAt"`
	Tags        []string   `json:"tags"`
	Active      bool       `json:"active"`
	CreatedAt   time.Time  `json:"createdAt"`
	UpdatedAt   time.Time  `json:"updatedAt"`
	// Stale is true where the list could not apply the latest events of this customer; Get shows
	// them.
	Stale bool `json:"stale"`
}

// CustomerInput is a new customer. Only Email is required; what is empty is not given.
type CustomerInput struct {
	Email     string         `json:"email"`
	FirstName string         `json:"firstName,omitempty"`
	LastName  string         `json:"lastName,omitempty"`
	Phone     string         `json:"phone,omitempty"`
	Tags      []string       `json:"tags,omitempty"`
	Metadata  map[string]any `json:"metadata,omitempty"`
	Addresses []AddressInput `json:"addresses,omitempty"`
	// Inactive makes a customer that is deactivated from the beginning.
	Inactive bool `json:"-"`
}

// body is the input as it is sent.
func (c *CustomerInput) body() any {
	if c == nil {
		return CustomerInput{}
	}
	if !c.Inactive {
		return c
	}
	return struct {
		*CustomerInput
		Active bool `json:"active"`
	}{c, false}
}

// CustomerUpdate changes what it names: an absent field stays as it is, Null clears, a Value
// replaces.
//
//	&sdk.CustomerUpdate{FirstName: sdk.Value("Janet"), Phone: sdk.Null[string]()}
type CustomerUpdate struct {
	// Email cannot be cleared.
	Email     Optional[string]
	FirstName Optional[string]
	LastName  Optional[string]
	Phone     Optional[string]
	// Tags replace all that are there; AddTags and RemoveTag change single ones.
	Tags Optional[[]string]
	// Metadata is merged key by key, and a nil value removes its key. Null removes all keys.
	Metadata Optional[map[string]any]
	// Active false deactivates the customer, true reactivates it.
	Active Optional[bool]
}

// patch is the update as JSON Merge Patch (RFC 7396).
func (u *CustomerUpdate) patch() map[string]any {
	patch := map[string]any{}
	if u == nil {
		return patch
	}
	put(patch, "email", u.Email)
	put(patch, "firstName", u.FirstName)
	put(patch, "lastName", u.LastName)
	put(patch, "phone", u.Phone)
	put(patch, "tags", u.Tags)
	put(patch, "metadata", u.Metadata)
	put(patch, "active", u.Active)
	// A nil map or slice is an empty value, and no null: that would remove all metadata.
	if keys := u.Metadata; keys.isSet && !keys.isNull && keys.value == nil {
		patch["metadata"] = map[string]any{}
	}
	if tags := u.Tags; tags.isSet && !tags.isNull && tags.value == nil {
		patch["tags"] = []string{}
	}
	return patch
}
