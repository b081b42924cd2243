"""Follows `customer.events.v1`, and proves that nothing is lost and nothing done twice.

It counts events by type in an SQLite file: put your own work into `apply`. Where it stands is
written in the same transaction as what it does, so it may be killed at any moment.

    pip install confluent-kafka
    python proving_consumer.py --servers localhost:9092 --database counts.db

Exit code 1: Kafka has lost events, or holds another log; one sentence says which. Lost events are
still in the log: `GET /events?after=POSITION` shows them, see docs/events.md. Where it answers 410
`events_archived`, they are in files that the operator can attach again.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

RETENTION = timedelta(days=7)  # of the topic: what is younger is published again after a wipe
BATCH_RECORDS_MAX = 500
WAIT_SECONDS = 1.0
CONNECT_SECONDS = 15.0
WATERMARK = "customer.watermark.v1"

TABLES = """
CREATE TABLE IF NOT EXISTS place (
    partition INTEGER PRIMARY KEY, epoch TEXT, position INTEGER, topic TEXT, next_offset INTEGER);
CREATE TABLE IF NOT EXISTS clock (position INTEGER PRIMARY KEY, event_time TEXT);
CREATE TABLE IF NOT EXISTS seen (type TEXT PRIMARY KEY, count INTEGER);
"""

# Times never go back as positions rise, so events of other partitions tell the time as well.
PLACE = """
SELECT epoch, position,
       coalesce((SELECT max(event_time) FROM clock WHERE clock.position <= place.position), ''),
       CASE topic WHEN ? THEN next_offset END
FROM place WHERE partition = ?
"""
CLOCK = "SELECT min(position), max(event_time) FROM clock"
TICK = timedelta(minutes=10)  # between the events that tell the time


class Place(NamedTuple):
    """Everything of a partition up to `position` is done."""

    epoch: str
    position: int
    event_time: str  # of an event up to there: none after it is older; empty where none is known
    next_offset: int | None  # where to read on: a hint, for a wipe makes it mean something else;
    # None in another topic, such as a replay, whose positions are the same


class Fact(NamedTuple):
    """What the arithmetic needs of a record."""

    type: str
    epoch: str
    position: int
    previous: int
    time: str


class Stopped(Exception):
    """Going on would hide a loss, or mix two logs."""


def judge(place: Place | None, fact: Fact, now: datetime) -> Literal["next", "repeat", "gap"]:
    """What a record is to somebody who stands at `place`; None: who has seen nothing yet."""
    if place is None:
        return "next"
    if fact.epoch != place.epoch:
        raise Stopped(f"the topic holds another log (epoch {fact.epoch}): begin anew")
    if fact.position <= place.position:
        return "repeat"
    if fact.previous > place.position:
        return "gap"  # the record before this one never came
    if fact.previous == 0 and not _is_young(place.event_time, now):
        return "gap"  # first in a topic made anew, and what came between may be too old to be in it
    return "next"  # nothing of this partition lies between


def _is_young(event_time: str, now: datetime) -> bool:
    return event_time != "" and time(event_time) > now - RETENTION


def time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def apply(database: sqlite3.Connection, fact: Fact, value: bytes | None) -> None:
    """Your work, in the transaction that also moves the place. Skip the types you do not know."""
    statement = "INSERT INTO seen VALUES (?, 1) ON CONFLICT (type) DO UPDATE SET count = count + 1"
    database.execute(statement, (fact.type,))


class Follower:
    """Reads all partitions of one topic."""

    def __init__(self, consumer: Consumer, database: sqlite3.Connection, topic: str) -> None:
        self._consumer = consumer
        self._database = database
        self._topic = topic
        self._went_back: dict[int, int] = {}  # by partition: at which position
        self._ended: set[int] = set()
        database.executescript(TABLES)

    def follow(self, *, until_end: bool) -> None:
        found = self._consumer.list_topics(self._topic, CONNECT_SECONDS).topics[self._topic]
        if found.error is not None:
            raise Stopped(f"there is no topic {self._topic}")
        partitions = sorted(found.partitions)
        self._consumer.assign([self._start(partition) for partition in partitions])
        while not (until_end and self._ended.issuperset(partitions)):
            messages = self._consumer.consume(BATCH_RECORDS_MAX, WAIT_SECONDS)
            with self._database:  # one transaction, rolled back where anything is raised
                gaps = self._take(messages)
            for partition in gaps:
                self._go_back(partition)

    def _start(self, partition: int) -> TopicPartition:
        place = self._place(partition)
        offset = None if place is None else place.next_offset
        return TopicPartition(
            self._topic, partition, OFFSET_BEGINNING if offset is None else offset
        )

    def _take(self, messages: list[Message]) -> set[int]:
        """The partitions in which something does not fit; no more of them was done."""
        gaps: set[int] = set()
        for message in messages:
            partition, error = message.partition(), message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    self._ended.add(partition)
                elif not error.retriable():
                    raise Stopped(error.str())
            elif partition not in gaps and not self._fits(message):
                gaps.add(partition)
        return gaps

    def _fits(self, message: Message) -> bool:
        fact, partition = read(message), message.partition()
        if fact is None:
            return True
        place = self._place(partition)
        verdict = judge(place, fact, datetime.now(UTC))
        if verdict == "next":
            if fact.type != WATERMARK:  # whose time is when it was sent
                apply(self._database, fact, message.value())
                self._tell_time(fact)
            here = partition, fact.epoch, fact.position, self._topic, message.offset() + 1
            self._database.execute("INSERT OR REPLACE INTO place VALUES (?, ?, ?, ?, ?)", here)
        return verdict != "gap"

    def _tell_time(self, fact: Fact) -> None:
        """Remember when the first event was, and then one now and then."""
        first, last = self._database.execute(CLOCK).fetchone()
        if first is None or fact.position < first or time(fact.time) - time(last) > TICK:
            row = fact.position, fact.time
            self._database.execute("INSERT OR IGNORE INTO clock VALUES (?, ?)", row)

    def _go_back(self, partition: int) -> None:
        """To the first record: after a wipe, an old offset lies anywhere in the new topic."""
        place = self._place(partition)
        assert place is not None, "a gap lies behind something"
        if self._went_back.get(partition) == place.position:
            raise Stopped(f"events of partition {partition} after {place.position} are lost")
        self._went_back[partition] = place.position
        self._ended.discard(partition)
        self._consumer.seek(TopicPartition(self._topic, partition, OFFSET_BEGINNING))

    def _place(self, partition: int) -> Place | None:
        found = self._database.execute(PLACE, (self._topic, partition)).fetchone()
        return None if found is None else Place(*found)


def read(message: Message) -> Fact | None:
    """None for a record that has no place in the log."""
    headers = {name: (value or b"").decode() for name, value in message.headers() or ()}
    if "ce_position" not in headers:
        return None
    return Fact(
        headers["ce_type"],
        headers["ce_epoch"],
        int(headers["ce_position"]),
        int(headers["ce_previousposition"]),
        headers["ce_time"],
    )


def main() -> None:
    options = argparse.ArgumentParser(description="Count events by type, and prove the count.")
    options.add_argument("--servers", required=True)
    options.add_argument("--database", required=True)
    options.add_argument("--topic", default="customer.events.v1")
    options.add_argument("--until-end", action="store_true", help="stop where the topic ends")
    given = options.parse_args()
    consumer = Consumer(
        {
            "bootstrap.servers": given.servers,
            "group.id": "proving-consumer",  # asked for by the client; nothing is committed to it
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",  # where a wipe made our offset mean nothing
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    database = sqlite3.connect(given.database)
    try:
        Follower(consumer, database, given.topic).follow(until_end=given.until_end)
    except Stopped as stopped:
        sys.exit(f"Stopped: {stopped}.")
    finally:
        consumer.close()
        database.close()


if __name__ == "__main__":
    main()
