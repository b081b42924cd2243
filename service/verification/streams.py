"""A stream's row beside what its events say; pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from service.findings import Finding


class Stream(NamedTuple):
    """A row of log.stream, and what was counted of its events."""

    customer_id: str
    tenant: str
    version: int
    position: int
    first_position: int
    is_closed: bool
    is_archived: bool  # its beginning is: the rest goes on from the snapshot's version, if it lives
    snapshot_version: int | None
    snapshot_position: int | None
    events: int
    versions: int  # that differ
    last_version: int
    odd_version: int | None  # the first that does not follow the one before it
    event_first_position: int
    event_last_position: int
    unordered_position: int | None  # the first that does not rise with the versions
    creations: int  # 1: the first event is one, and no other
    deletions: int
    foreign_events: int  # of another tenant
    has_key: bool
    has_living_key: bool


def stream_findings(stream: Stream) -> Iterator[Finding]:
    """What is wrong with one stream."""
    who = stream.customer_id
    if stream.is_archived:
        yield from _archived(stream)
        return
    if stream.events == 0:
        yield Finding("missing", "log", "log.stream has a customer without any event", who)
        return
    yield from _events(stream)
    for name, row, event in (
        ("version", stream.version, stream.last_version),
        ("position", stream.position, stream.event_last_position),
        ("first_position", stream.first_position, stream.event_first_position),
        ("is_closed", stream.is_closed, stream.deletions > 0),
    ):
        if row != event:
            detail = f"log.stream says {name} {_told(row)}, the events say {_told(event)}"
            yield Finding("different", "log", detail, who)
    yield from _key(stream)


def _archived(stream: Stream) -> Iterator[Finding]:
    """What can be told of a stream whose beginning is not there."""
    who, has_events = stream.customer_id, stream.events > 0
    version, position = stream.snapshot_version, stream.snapshot_position
    if version is None and not stream.is_closed:
        detail = "log.snapshot lacks the state from which the customer's stream goes on"
        yield Finding("missing", "log", detail, who)
    if has_events and version is not None and stream.odd_version is not None:
        detail = f"the stream does not go on from its snapshot: version {stream.odd_version}"
        yield Finding("missing", "log", detail, who)
    if stream.unordered_position is not None:
        detail = "the stream's positions do not rise with its versions"
        yield Finding("out_of_order", "log", detail, who, stream.unordered_position)
    if stream.foreign_events:
        yield Finding("different", "log", "the stream has events of another tenant", who)
    last = (stream.last_version, stream.event_last_position) if has_events else (version, position)
    if last != (None, None) and last != (stream.version, stream.position):
        detail = f"log.stream says version {stream.version}, what is there ends at {last[0]}"
        yield Finding("different", "log", detail, who)
    if stream.deletions and not stream.is_closed:
        yield Finding("different", "log", "the customer was deleted, and lives in log.stream", who)
    yield from _key(stream)


def _events(stream: Stream) -> Iterator[Finding]:
    who = stream.customer_id
    if stream.versions < stream.last_version:
        detail = f"the stream has a hole in its versions before version {stream.odd_version}"
        yield Finding("missing", "log", detail, who)
    if stream.events > stream.versions:
        detail = f"the stream has a version twice, before version {stream.odd_version}"
        yield Finding("repeated", "log", detail, who)
    if stream.unordered_position is not None:
        detail = "the stream's positions do not rise with its versions"
        yield Finding("out_of_order", "log", detail, who, stream.unordered_position)
    if stream.creations != 1:
        detail = "the stream's first event, and no other, should be the creation"
        yield Finding("different", "log", detail, who)
    if stream.deletions > 1:
        yield Finding("repeated", "log", "the stream has several deletions", who)
    if stream.foreign_events:
        yield Finding("different", "log", "the stream has events of another tenant", who)


def _key(stream: Stream) -> Iterator[Finding]:
    if not stream.has_key:
        detail = "vault.customer_key has no row for the customer"
        yield Finding("missing", "log", detail, stream.customer_id)
    elif stream.has_living_key == stream.is_closed:
        is_what = "deleted, and the key lives" if stream.is_closed else "alive, and the key is gone"
        yield Finding("different", "log", f"the customer is {is_what}", stream.customer_id)


def _told(value: int | bool) -> str:
    return str(value).lower()
