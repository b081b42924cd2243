"""What a row of the route table says, and the headers that rows name.

Invariant: a row is data, and it is whole: what it does not say about a route is not so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pydantic import BaseModel

from service.http.problem_kinds import PROBLEMS, ProblemCode
from service.http.query_params import NoQuery

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
    line_media_types: tuple[str, ...] = ()  # where given: lines, of which each holds the model


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
    takes_slot: bool = True  # of those for work; False: its handler has a limit of its own

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
    "epoch_changed",
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
