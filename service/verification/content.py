"""Whether a record says what the log's event says; pure.

Invariant: a deletion blanks what is personal in the log and leaves the record as it was sent, so of
a forgotten customer only the rest is compared.
"""

from __future__ import annotations

import orjson

from service.errors import Corrupt
from service.event_log import StoredEvent
from service.events import decode, encode
from service.kafka import ConsumedRecord, ReceivedEvent, event_record
from service.vault import blanked

_FORGOTTEN = "ce_forgotten"
_DAMAGED = "ce_damaged"


def differences(event: StoredEvent, record: ConsumedRecord, told: ReceivedEvent) -> list[str]:
    """The headers, key or value of a record, by name, that are not what they should be.

    `told` is what the record says. The previous position is the chain's, not the event's.
    """
    key = event.customer_id.encode()
    wanted = event_record(event, key, told.previous_position, told.epoch.encode())
    ours, theirs = dict(wanted.headers), dict(record.headers)
    is_damaged = theirs.pop(_DAMAGED, None) is not None
    for headers in (ours, theirs):
        headers.pop(_FORGOTTEN, None)
        headers.pop(_DAMAGED, None)
    names = sorted(
        name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)
    )
    if told.is_forgotten and not event.is_forgotten:
        names.append(_FORGOTTEN)
    if is_damaged and not event.is_damaged:
        names.append(_DAMAGED)
    if record.key != key:
        names.append("key")
    if not event.is_damaged and not _is_same_value(event, record, told):
        names.append("value")
    return names


def _is_same_value(event: StoredEvent, record: ConsumedRecord, told: ReceivedEvent) -> bool:
    value = record.value
    if value is None:
        return False
    if value == event.data.encode():
        return True
    try:
        theirs, ours = orjson.loads(value), orjson.loads(event.data)
        if event.is_forgotten and not told.is_forgotten:
            theirs, ours = _blank(told, value.decode()), _blank(told, event.data)
    except (Corrupt, ValueError, LookupError, TypeError, AttributeError):  # of no form of ours
        return False
    return bool(theirs == ours)


def _blank(told: ReceivedEvent, data: str) -> object:
    """In today's shape, which is the one that says what is personal."""
    current = encode(decode(told.type, told.schema_version, data))
    blank = blanked(told.type, current)
    return orjson.loads(current if blank is None else blank)
