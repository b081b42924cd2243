"""Reads all partitions of a topic beside each other, each at its reader's pace, to its end.

Invariants: only what is committed is read. Where a partition ends is decided by the first answer
about it, so reading comes to an end while others write. What is held in memory is bounded by the
number of partitions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Protocol, cast

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from service.kafka.config import KafkaConfig
from service.kafka.link import (
    REQUEST_TIMEOUT_SECONDS,
    START_TIMEOUT_SECONDS,
    STOP_TIMEOUT_SECONDS,
    closing,
    link,
    our_errors,
)
from service.kafka.records import ConsumedRecord
from service.kafka.tails import FETCH_WAIT_MILLISECONDS, Assigned, Message, Place, consumed

OPEN_SECONDS_MAX = 3.0  # how long a transaction that is open at the end is waited for
BATCH_RECORDS_MAX = 500
PARTITION_BYTES_MAX = 1024 * 1024  # fetched ahead of each partition


class _Consumer(Assigned, Protocol):
    async def getmany(
        self, *partitions: Place, timeout_ms: int, max_records: int
    ) -> Mapping[Place, Sequence[Message]]: ...


class SideBySide:
    """A topic that is being read. `first_offsets`: above 0, older records were there once."""

    def __init__(
        self, consumer: _Consumer, places: Sequence[Place], first_offsets: Sequence[int]
    ) -> None:
        self._consumer = consumer
        self._places = places
        self._ends: dict[int, int] = {}  # by partition
        self.first_offsets = first_offsets

    @classmethod
    @asynccontextmanager
    async def open(
        cls, config: KafkaConfig, topic: str, partitions: int
    ) -> AsyncIterator[SideBySide]:
        """Raises Unavailable where no broker answers."""
        places = [cast("Place", TopicPartition(topic, number)) for number in range(partitions)]
        with our_errors():
            consumer = cast(
                "_Consumer",
                AIOKafkaConsumer(
                    **link(config),
                    enable_auto_commit=False,
                    auto_offset_reset="earliest",
                    isolation_level="read_committed",
                    fetch_max_wait_ms=FETCH_WAIT_MILLISECONDS,
                    max_partition_fetch_bytes=PARTITION_BYTES_MAX,
                ),
            )
        async with closing(consumer.stop, STOP_TIMEOUT_SECONDS):
            with our_errors():
                async with asyncio.timeout(START_TIMEOUT_SECONDS):
                    await consumer.start()
                    firsts = await consumer.beginning_offsets(places)
                consumer.assign(places)
                for place in places:
                    consumer.seek(place, firsts[place])  # no await since `assign`
            yield cls(consumer, places, [firsts[place] for place in places])

    async def next(self, partition: int) -> list[ConsumedRecord]:
        """What comes next in a partition; nothing: it was read to its end. Raises Unavailable."""
        place = self._places[partition]
        with our_errors():
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                patience = monotonic() + OPEN_SECONDS_MAX
                while not await self._is_at_end(partition, is_patient=monotonic() < patience):
                    found = await self._consumer.getmany(
                        place, timeout_ms=FETCH_WAIT_MILLISECONDS, max_records=BATCH_RECORDS_MAX
                    )
                    end = self._end(partition)
                    records = [consumed(each) for each in found.get(place, ())]
                    if records := [each for each in records if end is None or each.offset < end]:
                        return records
        return []

    async def _is_at_end(self, partition: int, *, is_patient: bool) -> bool:
        """A commit is acknowledged a moment before its records can be read, so an open transaction
        is waited for; one that nobody ends is no part of the topic."""
        end = self._ends.get(partition)
        if end is None:
            return False
        place = self._places[partition]
        position = await self._consumer.position(place)
        stable = self._consumer.last_stable_offset(place)
        is_open = stable is not None and 0 <= stable <= position < end
        return position >= end or (is_open and not is_patient)

    def _end(self, partition: int) -> int | None:
        """Where it ends as of the first answer; None before that."""
        if partition not in self._ends:
            end = self._consumer.highwater(self._places[partition])
            if end is None:
                return None
            self._ends[partition] = end
        return self._ends[partition]
