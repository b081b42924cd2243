"""Messages that could not be taken in: how they are put aside, and put back.

Invariant: key, value and headers are kept byte for byte, and the time of the record too, from which
an order may take its own. What is added stands in headers that begin with `dlq_`. Only what is too
large for a broker is left where it is: then the dead letter says so, and where that was. And a
header whose name is not UTF-8, which no client of ours can send, gets a name that tells it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from service.errors import Unavailable
from service.kafka import (
    ConsumedRecord,
    Headers,
    KafkaConfig,
    Producer,
    Record,
    Shelf,
    TopicDescription,
    Topics,
)
from service.order_intake.message import REASONS, Unusable
from service.standing import Letters

PREFIX = "dlq_"
LETTER_BYTES_MAX = 1_000_000  # with what is added still below brokers' default of 1,048,588
LETTERS_COUNTED_MAX = 10_000  # by whoever only looks
_REASON = "dlq_reason"
_LEFT_OUT = "dlq_left_out"  # key, value and headers of so many bytes
_TIMESTAMP = "dlq_timestamp"  # of the record as it came, in milliseconds
_HEADER = "dlq_header_"  # and the name of a header, with \xNN for each byte that is not UTF-8


class Redriven(NamedTuple):
    """What a run has done. `read` counts all that it looked at."""

    read: int
    put_back: int


def unsendable(record: ConsumedRecord) -> Unusable | None:
    """Whether it must be put aside whatever it says: it cannot be put back as it is."""
    if all(_is_text(name) for name, _ in record.headers):
        return None
    return Unusable("invalid_message", "headers: a name that is not UTF-8")


def dead_letter(record: ConsumedRecord, unusable: Unusable, now: datetime) -> Record:
    """The record as a dead letter. It is dated now, or it might be too old to be kept."""
    added = {
        _REASON: unusable.reason,
        "dlq_detail": unusable.detail,
        "dlq_topic": record.topic,
        "dlq_partition": str(record.partition),
        "dlq_offset": str(record.offset),
        "dlq_time": now.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
        _TIMESTAMP: str(record.timestamp_ms),
    }
    key, value = record.key, record.value
    given = [(_sendable(name), each) for name, each in record.headers]
    if (size := _size(key, value, given)) > LETTER_BYTES_MAX:
        key, value, given = None, None, []
        added[_LEFT_OUT] = str(size)
    headers = [*given, *((name, text.encode()) for name, text in added.items())]
    return Record(key, value, headers, round(now.timestamp() * 1_000))


def _size(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    of_headers = sum(len(name.encode()) + len(each) + 10 for name, each in headers)
    return len(key or b"") + len(value or b"") + of_headers


def _is_text(name: str) -> bool:
    return name.encode(errors="ignore").decode() == name


def _sendable(name: str) -> str:
    if _is_text(name):
        return name
    data = name.encode(errors="surrogateescape")
    return _HEADER + data.decode(errors="backslashreplace")


def put_back(record: ConsumedRecord) -> Record:
    """A dead letter as the message it was, but for headers whose names are not UTF-8."""
    headers = [
        (name, value)
        for name, value in record.headers
        if not name.startswith(PREFIX) and _is_text(name)
    ]
    stamp = dict(record.headers).get(_TIMESTAMP, b"")
    timestamp_ms = int(stamp) if stamp.isdigit() else record.timestamp_ms
    return Record(record.key, record.value, headers, timestamp_ms)


@asynccontextmanager
async def _open(config: KafkaConfig) -> AsyncIterator[tuple[Shelf, TopicDescription]]:
    """The bookmark's group carries the topic's id: an old one is never trusted on a new topic."""
    name = config.orders_dead_letter_topic.name
    async with Topics.connect(config) as topics:
        found = await topics.describe(name)
    if found is None:
        raise Unavailable("broker_unavailable", f"There is no topic {name}: run migrate.")
    group_id = f"{config.topic_prefix}orders-redrive-{found.id}"
    async with Shelf.open(config, name, group_id) as shelf:
        yield shelf, found


async def redrive(
    config: KafkaConfig,
    *,
    reason: str | None = None,
    key: bytes | None = None,
    observe: Callable[[Redriven], None] = lambda _: None,
) -> Redriven:
    """Put dead letters back into the orders topic, up to the end as of now.

    Without filters it goes on where the last such run ended; with one it looks at all of them.
    Raises Unavailable: some may then be back already, which a repeat does no harm to.
    """
    is_whole = reason is None and key is None
    sending = replace(config, idempotence=False)  # a copy is a repeat, and not every broker can
    done = Redriven(0, 0)
    async with _open(config) as (shelf, topic), Producer.connect(sending) as producer:
        for partition in range(topic.partitions):
            start = await shelf.bookmark(partition) if is_whole else 0
            async for records in shelf.read(partition, start):
                wanted = [put_back(each) for each in records if _matches(each, reason, key)]
                await producer.send_keyed(config.orders_topic.name, wanted)
                if is_whole:
                    await shelf.set_bookmark(partition, records[-1].offset + 1)
                done = Redriven(done.read + len(records), done.put_back + len(wanted))
                observe(done)
    return done


async def oldest_age_seconds(config: KafkaConfig, now: datetime) -> float:
    """Of the dead letters that no run without filters has put back; 0 where there are none."""
    oldest_ms: list[int] = []
    async with _open(config) as (shelf, topic):
        for partition in range(topic.partitions):
            start = await shelf.bookmark(partition)
            async for records in shelf.read(partition, start):
                oldest_ms.append(records[0].timestamp_ms)
                break
    return max(0.0, now.timestamp() - min(oldest_ms) / 1_000) if oldest_ms else 0.0


async def waiting_letters(config: KafkaConfig, now: datetime) -> Letters:
    """The same letters, counted by their reasons; up to LETTERS_COUNTED_MAX. Raises Unavailable."""
    reasons: Counter[str] = Counter()
    oldest_ms = now.timestamp() * 1_000
    async with _open(config) as (shelf, topic):
        for partition in range(topic.partitions):
            start = await shelf.bookmark(partition)
            async for records in shelf.read(partition, start):
                reasons.update(map(_reason, records))
                oldest_ms = min(oldest_ms, records[0].timestamp_ms)
                if reasons.total() >= LETTERS_COUNTED_MAX:
                    break
    seconds = max(0.0, now.timestamp() - oldest_ms / 1_000)
    return Letters(dict(sorted(reasons.items())), seconds, reasons.total() >= LETTERS_COUNTED_MAX)


def _reason(record: ConsumedRecord) -> str:
    """Only a code of ours is told: anybody may write to a topic."""
    given = dict(record.headers).get(_REASON, b"").decode(errors="replace")
    return given if given in REASONS else "unknown"


def _matches(record: ConsumedRecord, reason: str | None, key: bytes | None) -> bool:
    headers = dict(record.headers)
    given = headers.get(_REASON, b"").decode(errors="replace")
    return reason in {None, given} and key in {None, record.key} and _LEFT_OUT not in headers
