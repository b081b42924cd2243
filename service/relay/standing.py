"""Where publishing stands, and what comes next; pure functions.

Invariant: `tails` holds the position of the last record of each partition, and an event at or
below its partition's tail is already there. One number so serves as the previous position that
each record names, and keeps what is published again after a loss from being published twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from service.errors import ConfigurationError, Corrupt
from service.event_log import Head, StoredEvent
from service.events import Position
from service.kafka import (
    ReceivedEvent,
    Record,
    Tail,
    Watermark,
    event_record,
    partition_for,
    received,
    watermark_record,
)


class Standing(NamedTuple):
    """Everything up to `position` is published."""

    epoch: str
    position: Position
    tails: tuple[int, ...]  # per partition; 0 = no record yet


class Batch(NamedTuple):
    """Records to publish, by partition, and where publishing stands when they are."""

    records: Mapping[int, Sequence[Record]]
    after: Standing
    events: int


class Progress(NamedTuple):
    """Where publishing stood, as recorded, and in which topic."""

    topic_id: str
    epoch: str
    position: int
    tails: Sequence[int]


def next_batch(standing: Standing, page: Sequence[StoredEvent]) -> Batch:
    """The page that follows `standing`. Raises Corrupt where the log has a hole."""
    if page and page[-1].position != standing.position + len(page):
        raise Corrupt(f"the log has a hole after position {standing.position}")
    tails = list(standing.tails)
    records: dict[int, list[Record]] = {}
    epoch = standing.epoch.encode()
    for event in page:
        key = event.customer_id.encode()
        partition = partition_for(key, len(tails))
        previous = tails[partition]
        if event.position > previous:
            record = event_record(event, key, previous, epoch)
            records.setdefault(partition, []).append(record)
            tails[partition] = event.position
    position = page[-1].position if page else standing.position
    return Batch(records, Standing(standing.epoch, Position(position), tuple(tails)), len(page))


def with_watermarks(
    batch: Batch, standing: Standing, partitions: Sequence[int], now: datetime
) -> Batch:
    """Add a watermark of `standing`, which is acknowledged, to those that `batch` leaves idle."""
    records = dict(batch.records)
    tails = list(batch.after.tails)
    for partition in partitions:
        if partition in records:
            continue
        record = watermark_record(
            partition, standing.position, tails[partition], standing.epoch.encode(), now
        )
        records[partition] = [record]
        tails[partition] = standing.position
    return Batch(records, batch.after._replace(tails=tuple(tails)), batch.events)


def newest(topic_id: str, recorded: Iterable[Progress | None]) -> Progress | None:
    """Of what was recorded in several places, each at its time, what holds for this topic."""
    known = [each for each in recorded if each is not None]
    of_this = [each for each in known if each.topic_id == topic_id]
    return max(of_this or known, key=lambda each: each.position, default=None)


def resume(
    head: Head, topic_id: str, found: Sequence[Tail], recorded: Progress | None, oldest: int
) -> Standing:
    """Where to publish on from, given what is really in the topic.

    `head` must have been read after `found`. `oldest` is the last position that is too old to be
    published again. Raises ConfigurationError and Corrupt where publishing would do harm.
    """
    tails = [_tail_position(head, tail) for tail in found]
    if recorded is None:
        return Standing(head.epoch, Position(max(oldest, min(tails))), tuple(tails))
    if recorded.topic_id != topic_id:
        # Made again since: whatever lies there came from a producer that had not noticed.
        return Standing(head.epoch, Position(oldest), (0,) * len(found))
    _refuse_other_log(head, recorded)
    position = recorded.position
    for partition, known in enumerate(recorded.tails):
        if found[partition].last_record is None and found[partition].first_offset > 0:
            tails[partition] = known  # nothing was lost: the records have only grown too old
        elif tails[partition] < known:
            position = min(position, max(oldest, tails[partition]))
    return Standing(head.epoch, Position(position), tuple(tails))


def _tail_position(head: Head, tail: Tail) -> int:
    """The position that a partition's last record names; 0 where it has none."""
    if tail.last_record is None:
        return 0
    last = received(tail.last_record)
    if last is None:
        raise ConfigurationError(
            f"topic {tail.last_record.topic} holds records that are not the relay's:"
            " give the relay a topic of its own"
        )
    _refuse_other_epoch(head, tail.last_record.topic, last)
    if last.position > head.position:
        raise Corrupt(
            f"Kafka holds position {last.position} and the log ends at {head.position}: the log"
            " was set back. Restore it whole, or give it a new epoch and recreate the topic"
        )
    return last.position


def _refuse_other_epoch(head: Head, topic: str, last: ReceivedEvent | Watermark) -> None:
    if last.epoch != head.epoch:
        raise ConfigurationError(
            f"topic {topic} holds the events of another log (epoch {last.epoch}, here"
            f" {head.epoch}): delete the topic and run `customers migrate`, or use another"
        )


def _refuse_other_log(head: Head, recorded: Progress) -> None:
    if recorded.epoch != head.epoch:
        raise ConfigurationError(
            f"what was published last came from another log (epoch {recorded.epoch}, here"
            f" {head.epoch}): delete the events topic and run `customers migrate`"
        )
    if recorded.position > head.position:
        raise Corrupt(
            f"position {recorded.position} was published and the log ends at {head.position}:"
            " the log was set back. Restore it whole"
        )
