package sdk

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// route is one operation of the API. Errors name it by its template, which tells nothing about
// anybody.
type route struct {
	method   string
	template string
}

var (
	listCustomers  = route{http.MethodGet, "/user"}
	createCustomer = route{http.MethodPost, "/user"}
	getCustomer    = route{http.MethodGet, "/user/{customerId}"}
	updateCustomer = route{http.MethodPut, "/user/{customerId}"}
	deleteCustomer = route{http.MethodDelete, "/user/{customerId}"}
	addAddress     = route{http.MethodPost, "/user/{customerId}/address"}
	updateAddress  = route{http.MethodPut, "/user/{customerId}/address/{addressId}"}
	removeAddress  = route{http.MethodDelete, "/user/{customerId}/address/{addressId}"}
	addTags        = route{http.MethodPost, "/user/{customerId}/tag"}
	removeTag      = route{http.MethodDelete, "/user/{customerId}/tag/{tag}"}
	listOrders     = route{http.MethodGet, "/user/{customerId}/orders"}
	listEvents     = route{http.MethodGet, "/user/{customerId}/events"}
	exportCustomer = route{http.MethodGet, "/user/{customerId}/export"}
	readFeed       = route{http.MethodGet, "/events"}
)

func (r route) String() string {
	return r.method + " " + r.template
}

// path puts parts in the place of the template's braces, in order.
//
// Invariant: a part stays one part. Proxies take "." and ".." for directories even when they are
// escaped, and would make another path of them, so these are refused.
func (r route) path(parts ...string) (string, error) {
	segments := strings.Split(r.template, "/")
	for place, segment := range segments {
		if !strings.HasPrefix(segment, "{") {
			continue
		}
		part := parts[0]
		if part == "" || part == "." || part == ".." {
			return "", errors.New(strings.Trim(segment, "{}") + " cannot stand in a path")
		}
		segments[place], parts = url.PathEscape(part), parts[1:]
	}
	return strings.Join(segments, "/"), nil
}
