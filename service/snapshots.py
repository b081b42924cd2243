"""A customer's state at one version, in place of the events that led to it; pure.

Invariant: whoever goes on from a snapshot comes to the very state that the whole stream leads to.
A model that was released is never changed: its successor has another schema version, and reads it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from service.errors import Corrupt
from service.events import Address, MetadataValue, Order, Position, Version
from service.identifiers import CustomerId

SNAPSHOT_TYPE: Final = "customer.snapshot"  # no event's: what is sealed for one opens as no other
SNAPSHOT_SCHEMA: Final = 1


class State(BaseModel):
    """All that a stream has led to, orders whole. Personal, and therefore sealed as one piece."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )

    email: str
    first_name: str | None
    last_name: str | None
    phone: str | None
    tags: tuple[str, ...]
    metadata: dict[str, MetadataValue]
    addresses: tuple[Address, ...]
    active: bool
    created_at: AwareDatetime
    orders: tuple[Order, ...]  # the last version of each


class Snapshot(NamedTuple):
    """What a stream goes on from; `position` and `time` are those of its last event."""

    customer_id: CustomerId
    tenant: str
    version: Version
    position: Position
    time: datetime
    state: State


def encode_state(state: State) -> bytes:
    return state.model_dump_json(by_alias=True).encode()


def decode_state(schema_version: int, data: bytes) -> State:
    """Raises Corrupt for a version from the future, and for what does not fit."""
    if schema_version != SNAPSHOT_SCHEMA:
        raise Corrupt(f"unknown schema version {schema_version} of a snapshot")
    try:
        return State.model_validate_json(data)
    except ValidationError as error:
        # Not chained: its text quotes values, which are personal.
        raise Corrupt(f"a stored snapshot does not fit its model ({error.title})") from None
