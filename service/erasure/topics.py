"""What Kafka holds of a customer: the records of its key, and dead letters that name it.

Invariant: each topic is read from its first record to its end, records that were never committed
included, so what is not found is not there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from service.erasure.report import Finding
from service.errors import Unavailable
from service.identifiers import CustomerId
from service.kafka import (
    ConsumedRecord,
    KafkaConfig,
    ReceivedEvent,
    Shelf,
    Topic,
    Topics,
    partition_for,
    received,
)
from service.vault import is_personal

_GROUP = "customers-erase-verify"

Matches = Callable[[ConsumedRecord], bool]


async def look_in_topics(config: KafkaConfig, customer_id: CustomerId) -> list[Finding]:
    """The events, the states and the dead letters. Raises Unavailable."""
    key = customer_id.encode()

    def is_ours(record: ConsumedRecord) -> bool:
        return record.key == key

    def names_it(record: ConsumedRecord) -> bool:
        return key in (record.value or b"") or key == record.key

    events = [each async for each in _read(config, config.events_topic, is_ours, key)]
    states = [each async for each in _read(config, config.state_topic, is_ours, key)]
    letters = [each async for each in _read(config, config.orders_dead_letter_topic, names_it)]
    found = [
        _finding(config.events_topic, events, [each for each in events if _tells(each)]),
        _states(config.state_topic, states),
        _finding(config.orders_dead_letter_topic, letters, letters),
    ]
    ours = (config.events_topic, config.state_topic, config.orders_dead_letter_topic)
    async with Topics.connect(config) as topics:
        faults = ["; ".join(await topics.faults([topic])) for topic in ours]
    pairs = zip(found, faults, strict=True)
    return [_undated(each, fault) if fault else each for each, fault in pairs]


def _undated(finding: Finding, fault: str) -> Finding:
    """Of a topic that does not have our settings nobody knows when its records go."""
    return replace(finding, clear_at=None, note=fault)


async def _read(
    config: KafkaConfig, topic: Topic, matches: Matches, key: bytes | None = None
) -> AsyncIterator[ConsumedRecord]:
    """The records that match, of the one partition that `key` belongs to where it is given."""
    async with Topics.connect(config) as topics:
        found = await topics.describe(topic.name)
    if found is None:
        raise Unavailable("broker_unavailable", f"There is no topic {topic.name}: run migrate.")
    every = range(found.partitions)
    partitions = every if key is None else [partition_for(key, found.partitions)]
    group_id = f"{config.topic_prefix}{_GROUP}"
    async with Shelf.open(config, topic.name, group_id, sees_aborted=True) as shelf:
        for partition in partitions:
            async for records in shelf.read(partition):
                for record in filter(matches, records):
                    yield record


def _tells(record: ConsumedRecord) -> bool:
    """Whether an event's record has its personal fields."""
    event = received(record)
    return isinstance(event, ReceivedEvent) and is_personal(event.type) and not event.is_forgotten


def _states(topic: Topic, records: list[ConsumedRecord]) -> Finding:
    """What a tombstone follows goes with the next compaction; without one, it stays."""
    readable = [each for each in records if each.value]
    if records and records[-1].value:
        return Finding(topic.name, len(records), len(readable))
    return _finding(topic, records, readable)


def _finding(topic: Topic, held: list[ConsumedRecord], readable: list[ConsumedRecord]) -> Finding:
    if not readable:
        return Finding(topic.name, len(held), 0)
    newest = max(each.timestamp_ms for each in held) / 1_000
    gone_after = timedelta(seconds=topic.gone_after_seconds)
    clear_at = datetime.fromtimestamp(newest, UTC) + gone_after
    return Finding(topic.name, len(held), len(readable), clear_at)
