"""The row of the feed in the route table, with its parameters and what its lines hold.

Invariant: as with every row, what it does not say about the route is not so.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from service.documents import Timestamp
from service.events import EVENT_TYPES, Actor
from service.http.query_params import Count, whole
from service.http.routes import AS_OF_POSITION, LOG_EPOCH, Answer, Header, Route

LIMIT_DEFAULT = 1_000
LIMIT_MAX = 10_000
NDJSON = "application/x-ndjson"
EVENT_STREAM = "text/event-stream"

LAST_EVENT_ID = Header(
    "Last-Event-ID", "Of a stream: the last `id` that was received; wins over `after`.", "4711"
)

_PUBLISHED = tuple(
    f"{kind.type}.v{version}"
    for kind in EVENT_TYPES
    for version in range(1, kind.schema_version + 1)
)
_NAMES = frozenset({*_PUBLISHED, *(kind.type for kind in EVENT_TYPES)})
_NAME = f"({'|'.join(sorted(name.replace('.', '[.]') for name in _NAMES))})"


def _types(value: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(value.split(",")))
    if not _NAMES.issuperset(names):
        expected = f"Expected names by comma, of {', '.join(_PUBLISHED)}."
        raise PydanticCustomError("unknown_type", expected)
    return names


Types: TypeAlias = Annotated[
    tuple[str, ...],
    PlainValidator(_types),
    WithJsonSchema({"type": "string", "pattern": f"^{_NAME}(,{_NAME})*$"}),
]


class FeedQuery(BaseModel):
    """The parameters of the feed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: Count = Field(default=0, description="Only what came after this position.")
    limit: Annotated[int, whole(1, LIMIT_MAX)] = Field(
        default=LIMIT_DEFAULT, description="Lines at most; a stream does not end there."
    )
    types: Types | None = Field(
        default=None,
        description="Only these types, by comma, as published or without their version.",
        examples=["customer.created.v1,customer.deleted.v1"],
    )


class FeedEvent(BaseModel):
    """One event of the feed: a line."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    position: int = Field(description="Its place in the log of all customers of all tenants.")
    epoch: str = Field(description="Names the log that the position belongs to.")
    id: str = Field(description="Opaque; `ce_id` in Kafka.")
    type: str = Field(description="The name of the schema of `data`, under `/schemas/`.")
    customer_id: str = Field(description="Whom it is about.")
    version: int = Field(description="The customer's version that it made.")
    time: Timestamp = Field(description="When it happened.")
    actor: Actor = Field(description="Who asked for it.")
    data: dict[str, object] = Field(description="As published, by `type`.")


FEED_ROUTE = Route(
    operation_id="readFeed",
    method="GET",
    path="/events",
    summary="Read the log of events",
    description="The tenant's events in the order of their positions, a line of JSON each, up to "
    "the limit or the end of the log; an answer may end before, and `As-Of-Position` says from "
    "where to go on in every case: give it as `after`. Positions are those of the whole log, so "
    "they skip numbers. With `Accept: text/event-stream` it does not end, and shows each event "
    "once it is committed. A line also has `forgotten: true` where its customer was deleted and "
    "its personal fields are blank, and `damaged: true` where it cannot be read and `data` is "
    "empty.",
    scope="events:read",
    tags=("Feed",),
    query=FeedQuery,
    headers=(LAST_EVENT_ID,),
    answers=(
        Answer(
            200,
            "Lines of events.",
            FeedEvent,
            (AS_OF_POSITION, LOG_EPOCH),
            line_media_types=(NDJSON, EVENT_STREAM),
        ),
    ),
    problems=("invalid_parameter", "events_archived"),
    takes_slot=False,
)
