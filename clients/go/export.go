package sdk

import (
	"context"
	"time"
)

// CustomerExport is all that is held about a customer, as of one moment.
type CustomerExport struct {
	// ExportedAt is when the export began.
	ExportedAt time.Time `json:"exportedAt"`
	// AsOfPosition is the position of the last of the events.
	AsOfPosition int64    `json:"asOfPosition"`
	Customer     Customer `json:"customer"`
	// Events are the whole history, the oldest first.
	Events []CustomerEvent `json:"events"`
	// Orders are all orders, the latest first.
	Orders []Order `json:"orders"`
}

// Export reads all that is held about a customer: wholly or not at all. For a customer with a long
// history the client's Timeout may have to be longer. Where events of the customer are archived,
// the code is events_archived.
func (s *CustomerService) Export(
	ctx context.Context, customerID string,
) (*CustomerExport, error) {
	made, err := s.calls.request(exportCustomer, []string{customerID}, nil, nil)
	if err != nil {
		return nil, err
	}
	var whole CustomerExport
	err = s.calls.repeat(ctx, func() *Error {
		return s.calls.fetch(ctx, made, exportBytesMax, &whole)
	})
	if err != nil {
		return nil, err
	}
	return &whole, nil
}
