"""What the statements of event_log.sql answer, column by column.

Invariant: a statement that always answers a row has no event in it where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from service.event_log.stored import Row
from service.event_log.words import Replayed
from service.events import Position, Version
from service.identifiers import CustomerId, EventId, EventKey, event_id


class StreamAndKey(NamedTuple):
    version: int | None
    position: int | None
    is_closed: bool | None
    fingerprint: bytes | None
    customer_id: str | None
    known_version: int | None
    known_position: int | None
    status: int | None
    subject: str | None


def as_time(time: datetime) -> datetime:
    return time


def as_id(position: int, key: EventKey) -> tuple[Position, EventId]:
    return Position(position), event_id(key)


def _row(*columns: object) -> Row | None:
    """None: there is none, and only what stands before it was asked for."""
    return None if columns[0] is None else Row._make(columns)


class StreamRow(NamedTuple):
    stream_version: int
    is_closed: bool
    archived_to: int
    event: Row | None


def stream_row(version: int, is_closed: bool, archived_to: int, *columns: object) -> StreamRow:
    return StreamRow(version, is_closed, archived_to, _row(*columns))


class SnapshotRow(NamedTuple):
    customer_id: str
    tenant: str
    version: int
    position: int
    time: datetime
    schema_version: int
    sealed: bytes
    wrapped: bytes | None
    is_destroyed: bool


def has_gap(page: Sequence[StreamRow], after: int) -> bool:
    """Whether the event after a version is in the archive. A hole that has another reason is for
    whoever folds the events to find."""
    if not page or not page[0].archived_to:
        return False
    first = page[0].event
    return page[0].stream_version > after if first is None else first.version != after + 1


def known_answer(row: StreamAndKey) -> tuple[bytes, Replayed] | None:
    if row.fingerprint is None or row.customer_id is None or row.status is None:
        return None
    if row.known_version is None or row.known_position is None:
        return None
    replayed = Replayed(
        CustomerId(row.customer_id),
        Version(row.known_version),
        Position(row.known_position),
        row.status,
        row.subject,
    )
    return row.fingerprint, replayed
