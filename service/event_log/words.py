"""The words in which appending, and where the log stands, is spoken of."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from service.events import Event, Meta, Position, RecordedEvent, Version
from service.identifiers import CustomerId


class Key(NamedTuple):
    """An idempotency key, or a digest of it, and what its answer will be should the append succeed.

    `fingerprint` is a digest of method, path and body; `subject` the address that is answered,
    where the answer is an address.
    """

    key: str
    fingerprint: bytes
    status: int
    subject: str | None = None


class Append(NamedTuple):
    """One command's events, and what must become true in the same commit."""

    tenant: str
    customer_id: CustomerId
    expected_version: Version  # compare-and-set; 0 = no stream yet
    events: tuple[Event, ...]
    meta: Meta
    claim_email: str | None = None
    release_email: str | None = None
    closes_stream: bool = False
    key: Key | None = None


class Appended(NamedTuple):
    """Places of the last event; of the stream's last event where there was nothing to append."""

    version: Version
    position: Position
    time: datetime
    events: tuple[RecordedEvent, ...]


class Replayed(NamedTuple):
    """The key was used before, for the same request; this is what was answered then."""

    customer_id: CustomerId
    version: Version
    position: Position
    status: int
    subject: str | None


class Head(NamedTuple):
    """How far the log goes. `epoch` is made when a log is created or restored."""

    epoch: str
    position: Position
    time: datetime


class StreamHead(NamedTuple):
    """Where a customer's stream stands."""

    version: Version
    position: Position
    is_closed: bool
