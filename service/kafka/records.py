"""Records as Kafka knows them, before anybody says what they mean.

Invariant: bytes are passed on as they came; nothing here decodes a key, a value or a header.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

Headers: TypeAlias = Sequence[tuple[str, bytes]]


class Record(NamedTuple):
    """A record to send. A `value` of None is a tombstone."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int


class ConsumedRecord(NamedTuple):
    """A record that was read. A header without a value reads as empty; of a name that is not UTF-8
    the wrong bytes are lone surrogates."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers
