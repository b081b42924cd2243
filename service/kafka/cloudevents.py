"""Events as CloudEvents 1.0 in Kafka's binary mode, and back; pure functions.

Source: CloudEvents 1.0.2 and its Kafka Protocol Binding, section 3.2. Invariants: the value is the
stored JSON, passed through without decoding; every record says its position, and the position of
the record before it in its partition, so that a reader can detect loss and repeats by arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from service.errors import Corrupt
from service.event_log import StoredEvent
from service.events import Event, Position, Version, decode
from service.identifiers import CustomerId, EventId, event_id
from service.kafka.records import ConsumedRecord, Record

SOURCE = "/customers"
STORED_TYPE_PREFIX = "customer."
WATERMARK_TYPE = "customer.watermark.v1"
STATE_TYPE = "customer.state.v1"
SWEEP_TYPE = "customer.state_sweep.v1"
TRACEPARENT_HEADER = "ce_traceparent"
SWEEP_KEY = b"_sweep"  # no customer's id, and in each partition the same

_SPEC_VERSION = ("ce_specversion", b"1.0")
_SOURCE = ("ce_source", SOURCE.encode())
_CONTENT_TYPE = ("content-type", b"application/json")
_STATE_TYPE = ("ce_type", STATE_TYPE.encode())
_SWEEP_TYPE = ("ce_type", SWEEP_TYPE.encode())
_WATERMARK_TYPE = ("ce_type", WATERMARK_TYPE.encode())
_FORGOTTEN = ("ce_forgotten", b"true")
_DAMAGED = ("ce_damaged", b"true")
_EMPTY_DATA = b"{}"
_CACHED_MAX = 1_024


@lru_cache(maxsize=_CACHED_MAX)
def _type_header(stored_type: str, schema_version: int) -> tuple[str, bytes]:
    return ("ce_type", f"{stored_type}.v{schema_version}".encode())


@lru_cache(maxsize=_CACHED_MAX)
def _time(time: datetime) -> tuple[tuple[str, bytes], int]:
    """The header and the record's timestamp. The events of one append share their time."""
    text = time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return ("ce_time", text.encode()), round(time.timestamp() * 1_000)


def event_record(event: StoredEvent, key: bytes, previous_position: int, epoch: bytes) -> Record:
    """The record of an event; `key` is its customer id, encoded once by the caller.

    `previous_position` is that of the record before it in its partition, 0 = none.
    """
    time_header, timestamp_ms = _time(event.time)
    headers = [
        _SPEC_VERSION,
        ("ce_id", event_id(event.id).encode()),
        _SOURCE,
        _type_header(event.type, event.schema_version),
        ("ce_subject", key),
        time_header,
        ("ce_sequence", b"%d" % event.version),
        ("ce_position", b"%d" % event.position),
        ("ce_previousposition", b"%d" % previous_position),
        ("ce_epoch", epoch),
        ("ce_tenant", event.tenant.encode()),
        _CONTENT_TYPE,
    ]
    traceparent = event.traceparent
    if traceparent:
        headers.append((TRACEPARENT_HEADER, traceparent.encode()))
    if event.is_forgotten:
        headers.append(_FORGOTTEN)
    if event.is_damaged:
        headers.append(_DAMAGED)
    return Record(key, event.data.encode(), headers, timestamp_ms)


def traceparent_in_record(record: Record) -> str | None:
    """Of the request that led to the event in this record."""
    for name, value in record.headers:
        if name == TRACEPARENT_HEADER:
            return value.decode()
    return None


def watermark_record(
    partition: int, position: int, previous_position: int, epoch: bytes, time: datetime
) -> Record:
    """Says that everything up to `position` is published. Its id follows from what it says."""
    time_header, timestamp_ms = _time(time)
    headers = (
        _SPEC_VERSION,
        ("ce_id", b"watermark-%b-%d-%d" % (epoch, partition, position)),
        _SOURCE,
        _WATERMARK_TYPE,
        time_header,
        ("ce_position", b"%d" % position),
        ("ce_previousposition", b"%d" % previous_position),
        ("ce_epoch", epoch),
        _CONTENT_TYPE,
    )
    return Record(None, _EMPTY_DATA, headers, timestamp_ms)


class State(NamedTuple):
    """A customer as it is now, as the read model shows it."""

    customer_id: str
    tenant: str
    version: int
    position: int  # of its last event
    document: str | None  # JSON; None = deleted
    time: datetime  # of its last event


def state_record(state: State, key: bytes, epoch: bytes) -> Record:
    """A tombstone for who is deleted, with the same headers; `key` is the customer id.

    Its id follows from the version that it shows, so a repeat has the same.
    """
    time_header, timestamp_ms = _time(state.time)
    headers = (
        _SPEC_VERSION,
        ("ce_id", b"state-%b-%b-%d" % (epoch, key, state.version)),
        _SOURCE,
        _STATE_TYPE,
        ("ce_subject", key),
        time_header,
        ("ce_sequence", b"%d" % state.version),
        ("ce_position", b"%d" % state.position),
        ("ce_epoch", epoch),
        ("ce_tenant", state.tenant.encode()),
        _CONTENT_TYPE,
    )
    value = None if state.document is None else state.document.encode()
    return Record(key, value, headers, timestamp_ms)


def sweep_record(partition: int, epoch: bytes, time: datetime) -> Record:
    """Says nothing about anybody: appended to a quiet partition, it lets Kafka compact the rest.

    It is a tombstone of nobody, so it does no harm to whoever does not skip it, and goes in time.
    """
    time_header, timestamp_ms = _time(time)
    headers = (
        _SPEC_VERSION,
        ("ce_id", b"sweep-%b-%d-%d" % (epoch, partition, timestamp_ms)),
        _SOURCE,
        _SWEEP_TYPE,
        time_header,
        ("ce_epoch", epoch),
    )
    return Record(SWEEP_KEY, None, headers, timestamp_ms)


class Watermark(NamedTuple):
    """Everything up to `position` is published, as far as this partition goes."""

    position: Position
    previous_position: Position
    epoch: str
    partition: int
    offset: int


class ReceivedEvent(NamedTuple):
    """An event as it came from Kafka. Its data is not looked at before `decoded`."""

    position: Position
    previous_position: Position  # of the record before it in its partition; 0 = none
    epoch: str
    id: EventId
    tenant: str
    customer_id: CustomerId
    version: Version
    type: str  # the stored name
    schema_version: int
    data: bytes
    time_text: str  # RFC 3339 in UTC
    traceparent: str | None
    partition: int
    offset: int
    is_forgotten: bool = False  # its customer was deleted: personal fields are blank

    @property
    def time(self) -> datetime:
        return datetime.fromisoformat(self.time_text)

    def decoded(self) -> Event:
        """Raises Corrupt where no model of this release fits."""
        return decode(self.type, self.schema_version, self.data)


def received(record: ConsumedRecord) -> ReceivedEvent | Watermark | None:
    """What a record of the events topic says; None where it is of a kind that readers skip.

    Raises Corrupt for a record that calls itself one of ours and is not whole.
    """
    headers = dict(record.headers)
    full_type = headers.get("ce_type", b"").decode(errors="replace")
    if not full_type.startswith(STORED_TYPE_PREFIX):
        return None
    try:
        if full_type == WATERMARK_TYPE:
            return _watermark(record, headers)
        return _event(record, headers, full_type)
    except (KeyError, ValueError) as error:
        raise Corrupt(
            f"the record at {record.topic}/{record.partition}/{record.offset} is not whole"
        ) from error


def _watermark(record: ConsumedRecord, headers: Mapping[str, bytes]) -> Watermark:
    return Watermark(
        Position(int(headers["ce_position"])),
        Position(int(headers["ce_previousposition"])),
        headers["ce_epoch"].decode(),
        record.partition,
        record.offset,
    )


def _event(record: ConsumedRecord, headers: Mapping[str, bytes], full_type: str) -> ReceivedEvent:
    stored_type, _, schema_version = full_type.rpartition(".v")
    traceparent = headers.get(TRACEPARENT_HEADER)
    return ReceivedEvent(
        Position(int(headers["ce_position"])),
        Position(int(headers["ce_previousposition"])),
        headers["ce_epoch"].decode(),
        EventId(headers["ce_id"].decode()),
        headers["ce_tenant"].decode(),
        CustomerId(headers["ce_subject"].decode()),
        Version(int(headers["ce_sequence"])),
        stored_type,
        int(schema_version),
        record.value or b"",
        headers["ce_time"].decode(),
        None if traceparent is None else traceparent.decode(),
        record.partition,
        record.offset,
        headers.get("ce_forgotten") == b"true",
    )
