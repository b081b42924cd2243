"""The route table: what this API answers, as data.

Invariant: the same rows route requests, validate them and document them, so none can say something
else than the others. Every customer route also exists under `/v1`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pydantic import BaseModel

from service.documents import CustomerDocument
from service.events import Address
from service.http.answers import CustomerList, OrderList
from service.http.models import AddressBody, AddressPatch, CustomerBody, CustomerPatch, TagsBody
from service.http.problem_kinds import PROBLEMS, ProblemCode
from service.http.query_params import ListQuery, NoQuery, OrdersQuery

Method: TypeAlias = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Scope: TypeAlias = Literal[
    "customers:read", "customers:write", "customers:erase", "events:read", "admin"
]

JSON = "application/json"
MERGE_PATCH_JSON = "application/merge-patch+json"
VERSION_PREFIX = "/v1"  # the same routes again, for callers who pin a version


@dataclass(frozen=True, slots=True)
class Header:
    """A header of a request or of an answer; its value is a string in every case."""

    name: str
    description: str
    example: str


@dataclass(frozen=True, slots=True)
class RequestBody:
    """`media_types` are all that is accepted; examples stand on the model."""

    model: type[BaseModel]
    media_types: tuple[str, ...] = (JSON, MERGE_PATCH_JSON)


@dataclass(frozen=True, slots=True)
class Answer:
    """One successful answer; without a model it has no body."""

    status: int
    description: str
    model: type[BaseModel] | None = None
    headers: tuple[Header, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `path` names its parts as `{customerId}`, `{addressId}` and `{tag}`."""

    operation_id: str
    method: Method
    path: str
    summary: str
    description: str
    scope: Scope
    answers: tuple[Answer, ...]
    tags: tuple[str, ...] = ("Customers",)
    query: type[BaseModel] = NoQuery
    headers: tuple[Header, ...] = ()
    body: RequestBody | None = None
    problems: tuple[ProblemCode, ...] = ()  # besides the ones of every route

    @property
    def all_problems(self) -> tuple[ProblemCode, ...]:
        """Every code that this route can answer, by rising status."""
        codes = {*_COMMON, *self.problems}
        if self.body is not None:
            codes.update(_WITH_BODY)
        if IDEMPOTENCY_KEY in self.headers:
            codes.update(_WITH_KEY)
        if IF_MATCH in self.headers:
            codes.update(("invalid_if_match", "precondition_failed"))
        return tuple(sorted(codes, key=lambda code: (PROBLEMS[code][0], code)))


IF_MATCH = Header(
    "If-Match", "Carry this out only if the customer's version is one of these.", '"7"'
)
IF_NONE_MATCH = Header("If-None-Match", "Answer 304 if the version is one of these.", '"7"')
IDEMPOTENCY_KEY = Header(
    "Idempotency-Key",
    "A repeat of the request with this key answers the same again. Kept for 7 days.",
    "8e03978e-40d5-43e8-bc93-6894a57f9324",
)
ETAG = Header("ETag", "The customer's version, quoted.", '"8"')
LOCATION = Header("Location", "The path of what was made.", "/user/cust_01hzy3v9k8e5mr2c7x4d6t0qaw")
LOG_POSITION = Header(
    "Log-Position", "The position of the write's last event: give it as `minPosition`.", "4711"
)
LOG_EPOCH = Header(
    "Log-Epoch", "Names the log that positions belong to.", "5f0c6a3e8d6b4c7f9e2a1b3c4d5e6f70"
)
AS_OF_POSITION = Header("As-Of-Position", "The position up to which this is current.", "4711")
REPLAYED = Header("Idempotent-Replayed", "`true` where the answer is a repeated one.", "true")

_COMMON: tuple[ProblemCode, ...] = (
    "bad_request",
    "unknown_parameter",
    "missing_token",
    "invalid_token",
    "insufficient_scope",
    "expectation_failed",
    "rate_limited",
    "database_unavailable",
    "database_not_ready",
    "issuer_unavailable",
    "master_key_outdated",
    "overloaded",
)
_WITH_BODY: tuple[ProblemCode, ...] = (
    "malformed_json",
    "request_timeout",
    "body_too_large",
    "unsupported_media_type",
    "unsupported_content_encoding",
    "validation_failed",
)
_WITH_KEY: tuple[ProblemCode, ...] = (
    "invalid_idempotency_key",
    "idempotency_in_flight",
    "idempotency_key_reused",
)
_ON_CUSTOMER: tuple[ProblemCode, ...] = (
    "customer_not_found",
    "customer_deleted",
    "version_conflict",
)
_ON_ADDRESS: tuple[ProblemCode, ...] = (*_ON_CUSTOMER, "address_not_found")

_WRITE = (IF_MATCH, IDEMPOTENCY_KEY)
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
        answers=(Answer(200, "A page of customers.", CustomerList, (AS_OF_POSITION,)),),
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
        description="Always current: it shows every write that was answered before.",
        scope="customers:read",
        headers=(IF_NONE_MATCH,),
        answers=(
            Answer(200, "The customer.", CustomerDocument, (ETAG, AS_OF_POSITION)),
            Answer(304, "It is still the version named.", None, (ETAG, AS_OF_POSITION)),
        ),
        problems=("customer_not_found", "customer_deleted"),
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
            Answer(200, "A page of orders.", OrderList, (ETAG, AS_OF_POSITION)),
            Answer(304, "It is still the version named.", None, (ETAG, AS_OF_POSITION)),
        ),
        problems=(
            "invalid_parameter",
            "invalid_cursor",
            "customer_not_found",
            "customer_deleted",
            "projection_lag",
        ),
    ),
)
