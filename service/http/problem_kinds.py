"""Every problem that this API can answer with, by its stable code.

Invariant: a code never changes its status, so callers may switch on either. The route table names
these codes, the documentation lists them, and `problems.py` alone turns them into answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

PROBLEM_JSON = "application/problem+json"

ProblemCode: TypeAlias = Literal[
    "bad_request",
    "malformed_json",
    "invalid_parameter",
    "unknown_parameter",
    "invalid_cursor",
    "invalid_if_match",
    "invalid_idempotency_key",
    "missing_token",
    "invalid_token",
    "insufficient_scope",
    "route_not_found",
    "customer_not_found",
    "customer_deleted",
    "address_not_found",
    "method_not_allowed",
    "request_timeout",
    "events_archived",
    "email_taken",
    "version_conflict",
    "idempotency_in_flight",
    "epoch_changed",
    "precondition_failed",
    "body_too_large",
    "unsupported_media_type",
    "unsupported_content_encoding",
    "expectation_failed",
    "validation_failed",
    "idempotency_key_reused",
    "rate_limited",
    "internal_error",
    "database_unavailable",
    "database_not_ready",
    "broker_unavailable",
    "issuer_unavailable",
    "master_key_outdated",
    "overloaded",
    "projection_lag",
]

# By code: the status that is answered, and the title, a short summary that never varies.
PROBLEMS: Mapping[ProblemCode, tuple[int, str]] = {
    "bad_request": (400, "The request is not valid HTTP."),
    "malformed_json": (400, "The body is not valid JSON."),
    "invalid_parameter": (400, "A query parameter has a value that cannot be used."),
    "unknown_parameter": (400, "There is no such query parameter here."),
    "invalid_cursor": (400, "The cursor is not one that this list gave for this filter and sort."),
    "invalid_if_match": (400, "If-Match is neither * nor a list of quoted entity tags."),
    "invalid_idempotency_key": (400, "The Idempotency-Key is not 1 to 255 printable characters."),
    "missing_token": (401, "A bearer token is required."),
    "invalid_token": (401, "The bearer token is unknown, expired or revoked."),
    "insufficient_scope": (403, "The token lacks the scope that this needs."),
    "route_not_found": (404, "There is nothing at this path."),
    "customer_not_found": (404, "There is no such customer."),
    "customer_deleted": (404, "The customer was deleted."),
    "address_not_found": (404, "The customer has no such address."),
    "method_not_allowed": (405, "This path does not answer this method."),
    "request_timeout": (408, "The request body did not arrive in time."),
    "events_archived": (410, "The events that this needs are archived."),
    "email_taken": (409, "Another customer has this e-mail address."),
    "version_conflict": (409, "The customer kept changing while this was carried out."),
    "idempotency_in_flight": (409, "A request with this Idempotency-Key is being carried out."),
    "epoch_changed": (412, "The log was restored, and is not the one that Log-Epoch names."),
    "precondition_failed": (412, "The customer's version is none of those in If-Match."),
    "body_too_large": (413, "The body is too large."),
    "unsupported_media_type": (415, "The body must be JSON."),
    "unsupported_content_encoding": (415, "The body must come without a content encoding."),
    "expectation_failed": (417, "The Expect header asks for what this server does not do."),
    "validation_failed": (422, "The request has faults; errors names each."),
    "idempotency_key_reused": (422, "The Idempotency-Key was used for another request."),
    "rate_limited": (429, "Too many requests with this token."),
    "internal_error": (500, "Something failed here; it was logged under the request id."),
    "database_unavailable": (503, "The database is not reachable."),
    "database_not_ready": (503, "The database has not been prepared yet."),
    "broker_unavailable": (503, "The message broker is not reachable."),
    "issuer_unavailable": (503, "The keys of the issuer of JWTs cannot be fetched."),
    "master_key_outdated": (503, "The master key was rotated, and this process has the old one."),
    "overloaded": (503, "Too many requests are waiting."),
    "projection_lag": (503, "The list does not show the wanted position yet."),
}

RETRY_AFTER_CODES = frozenset[ProblemCode](
    {
        "idempotency_in_flight",
        "rate_limited",
        "database_unavailable",
        "database_not_ready",
        "broker_unavailable",
        "issuer_unavailable",
        "master_key_outdated",
        "overloaded",
        "projection_lag",
    }
)
"""Answered with `Retry-After`: the same request may be sent again after so many seconds."""


def problem_type(code: ProblemCode) -> str:
    """Where a problem is described: a URI reference into this service's own documentation."""
    return f"/docs#problem-{code}"


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class ProblemFault(_Shape):
    """One thing that is wrong with the request. The offending value is never repeated."""

    pointer: str = Field(
        description="JSON Pointer into the body, or the name of a query parameter or header."
    )
    code: str = Field(description="Stable and machine-readable.", examples=["invalid_email"])
    detail: str = Field(description="A sentence for people.")


class Problem(_Shape):
    """RFC 9457 problem details."""

    type: str = Field(description="Where the problem is described.")
    title: str = Field(description="What kind of problem it is; the same for every `code`.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What is the matter this time.")
    instance: str = Field(description="Names this occurrence by its request id.")
    code: ProblemCode = Field(description="Stable and machine-readable.")
    request_id: str = Field(description="Names the request, as `X-Request-Id` does.")
    errors: list[ProblemFault] = Field(
        default=[], description="Every fault, where the request itself is at fault."
    )
    allowed: list[str] = Field(default=[], description="What may be given instead.")
    current_version: int | None = Field(default=None, description="With precondition_failed.")
