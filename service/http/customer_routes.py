"""The route table: what this API answers, as data.

Invariant: the same rows route requests, validate them and document them, so none can say something
else than the others. Every customer route also exists under `/v1`.
"""

from __future__ import annotations

from service.documents import CustomerDocument
from service.events import Address
from service.http.answers import CustomerExport, CustomerList, EventList, OrderList
from service.http.feed_route import FEED_ROUTE
from service.http.models import AddressBody, AddressPatch, CustomerBody, CustomerPatch, TagsBody
from service.http.problem_kinds import ProblemCode
from service.http.query_params import CustomerQuery, EventsQuery, ListQuery, OrdersQuery
from service.http.routes import (
    AS_OF_POSITION,
    ETAG,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    IF_NONE_MATCH,
    LOCATION,
    LOG_EPOCH,
    LOG_POSITION,
    REPLAYED,
    Answer,
    RequestBody,
    Route,
)

_ON_CUSTOMER: tuple[ProblemCode, ...] = (
    "customer_not_found",
    "customer_deleted",
    "version_conflict",
)
_ON_ADDRESS: tuple[ProblemCode, ...] = (*_ON_CUSTOMER, "address_not_found")

_WRITE = (IF_MATCH, IDEMPOTENCY_KEY)
_READ = (ETAG, AS_OF_POSITION, LOG_EPOCH)
_WRITTEN = (ETAG, LOG_POSITION, LOG_EPOCH, REPLAYED)
_MERGE_PATCH = (
    "A JSON Merge Patch (RFC 7396): absent fields stay, null clears, `tags` replaces, `metadata` "
    "merges by key. Fields that the service decides are ignored, so a document that was answered "
    "can be edited and sent back. A change of nothing makes no new version."
)
_CHANGED_CUSTOMER = (Answer(200, "The customer.", CustomerDocument, _WRITTEN),)
_NOTHING_LEFT = (Answer(204, "Done.", None, _WRITTEN),)

CUSTOMER_ROUTES: tuple[Route, ...] = (
    Route(
        operation_id="listCustomers",
        method="GET",
        path="/user",
        summary="List customers",
        description="A page of the customers that match every filter, and how many match in all. "
        "A write shows up here a moment later; give its `Log-Position` as `minPosition` to wait.",
        scope="customers:read",
        query=ListQuery,
        answers=(Answer(200, "A page of customers.", CustomerList, (AS_OF_POSITION, LOG_EPOCH)),),
        problems=("invalid_parameter", "invalid_cursor", "projection_lag"),
    ),
    Route(
        operation_id="createCustomer",
        method="POST",
        path="/user",
        summary="Create a customer",
        description="The e-mail address is the customer's alone within the tenant.",
        scope="customers:write",
        headers=(IDEMPOTENCY_KEY,),
        body=RequestBody(CustomerBody),
        answers=(Answer(201, "The new customer.", CustomerDocument, (LOCATION, *_WRITTEN)),),
        problems=("email_taken", "customer_deleted"),
    ),
    Route(
        operation_id="getCustomer",
        method="GET",
        path="/user/{customerId}",
        summary="Get a customer",
        description="Always current: it shows every write that was answered before. With `at` or "
        "`version`, as it was then, roll-ups included.",
        scope="customers:read",
        query=CustomerQuery,
        headers=(IF_NONE_MATCH,),
        answers=(
            Answer(200, "The customer.", CustomerDocument, _READ),
            Answer(304, "It is still the version named.", None, _READ),
        ),
        problems=("invalid_parameter", "customer_not_found", "customer_deleted", "events_archived"),
    ),
    Route(
        operation_id="updateCustomer",
        method="PUT",
        path="/user/{customerId}",
        summary="Update a customer",
        description=_MERGE_PATCH,
        scope="customers:write",
        headers=_WRITE,
        body=RequestBody(CustomerPatch),
        answers=_CHANGED_CUSTOMER,
        problems=("email_taken", *_ON_CUSTOMER),
    ),
    Route(
        operation_id="patchCustomer",
        method="PATCH",
        path="/user/{customerId}",
        summary="Update a customer",
        description=_MERGE_PATCH,
        scope="customers:write",
        headers=_WRITE,
        body=RequestBody(CustomerPatch),
        answers=_CHANGED_CUSTOMER,
        problems=("email_taken", *_ON_CUSTOMER),
    ),
    Route(
        operation_id="deleteCustomer",
        method="DELETE",
        path="/user/{customerId}",
        summary="Delete a customer",
        description="Permanent: no answer shows the customer again, and its e-mail is free again. "
        "Order history is retained but anonymized. Consider deactivating instead by setting "
        "`active: false`.",
        scope="customers:erase",
        headers=_WRITE,
        answers=_NOTHING_LEFT,
        problems=_ON_CUSTOMER,
    ),
    Route(
        operation_id="addAddress",
        method="POST",
        path="/user/{customerId}/address",
        summary="Add an address",
        description="The first address becomes the default; `isDefault: true` moves the mark.",
        scope="customers:write",
        tags=("Addresses",),
        headers=_WRITE,
        body=RequestBody(AddressBody),
        answers=(Answer(201, "The new address.", Address, (LOCATION, *_WRITTEN)),),
        problems=_ON_CUSTOMER,
    ),
    Route(
        operation_id="updateAddress",
        method="PUT",
        path="/user/{customerId}/address/{addressId}",
        summary="Update an address",
        description="A JSON Merge Patch (RFC 7396): absent fields stay, null clears.",
        scope="customers:write",
        tags=("Addresses",),
        headers=_WRITE,
        body=RequestBody(AddressPatch),
        answers=(Answer(200, "The address.", Address, _WRITTEN),),
        problems=_ON_ADDRESS,
    ),
    Route(
        operation_id="removeAddress",
        method="DELETE",
        path="/user/{customerId}/address/{addressId}",
        summary="Delete an address",
        description="Deleting the default one makes the oldest address left the default.",
        scope="customers:write",
        tags=("Addresses",),
        headers=_WRITE,
        answers=_NOTHING_LEFT,
        problems=_ON_ADDRESS,
    ),
    Route(
        operation_id="addTags",
        method="POST",
        path="/user/{customerId}/tag",
        summary="Add tags",
        description="Segment customers for targeted pricing and promotions. Tags that the customer "
        "has already stay as they are.",
        scope="customers:write",
        tags=("Tags",),
        headers=_WRITE,
        body=RequestBody(TagsBody),
        answers=_CHANGED_CUSTOMER,
        problems=_ON_CUSTOMER,
    ),
    Route(
        operation_id="removeTag",
        method="DELETE",
        path="/user/{customerId}/tag/{tag}",
        summary="Remove a tag",
        description="Case does not matter. A tag that the customer does not have changes nothing.",
        scope="customers:write",
        tags=("Tags",),
        headers=_WRITE,
        answers=_CHANGED_CUSTOMER,
        problems=_ON_CUSTOMER,
    ),
    Route(
        operation_id="listOrders",
        method="GET",
        path="/user/{customerId}/orders",
        summary="List a customer's orders",
        description="The latest first, with what each adds to the customer's count and spend, and "
        "why. Orders come in from Kafka; no route changes them.",
        scope="customers:read",
        tags=("Orders",),
        query=OrdersQuery,
        headers=(IF_NONE_MATCH,),
        answers=(
            Answer(200, "A page of orders.", OrderList, _READ),
            Answer(304, "It is still the version named.", None, _READ),
        ),
        problems=(
            "invalid_parameter",
            "invalid_cursor",
            "customer_not_found",
            "customer_deleted",
            "projection_lag",
        ),
    ),
    Route(
        operation_id="listEvents",
        method="GET",
        path="/user/{customerId}/events",
        summary="List what happened to a customer",
        description="The oldest first, each with who asked for it and which fields of the customer "
        "it changed, roll-ups included. `data` is as published.",
        scope="customers:read",
        tags=("History",),
        query=EventsQuery,
        headers=(IF_NONE_MATCH,),
        answers=(
            Answer(200, "A page of events.", EventList, _READ),
            Answer(304, "It is still the version named.", None, _READ),
        ),
        problems=(
            "invalid_parameter",
            "invalid_cursor",
            "customer_not_found",
            "customer_deleted",
            "events_archived",
        ),
    ),
    Route(
        operation_id="exportCustomer",
        method="GET",
        path="/user/{customerId}/export",
        summary="Export all that is held about a customer",
        description="The customer, its whole history and all of its orders as of one moment. It is "
        "sent while it is made: an answer that ends before its JSON does is not whole.",
        scope="customers:erase",
        tags=("History",),
        headers=(IF_NONE_MATCH,),
        answers=(
            Answer(200, "Everything.", CustomerExport, _READ),
            Answer(304, "It is still the version named.", None, _READ),
        ),
        problems=("customer_not_found", "customer_deleted", "events_archived"),
    ),
    FEED_ROUTE,
)
