"""Reads a topic outside of any group's work: from any place to its end, as a command does.

Invariant: where a partition ends is decided by the first answer about it, so that reading comes to
an end even where what is read makes new records.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol, cast

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
from service.kafka.tails import Message, Place, consumed

FETCH_WAIT_MILLISECONDS = 20
BATCH_RECORDS_MAX = 1_000


class Ahead(NamedTuple):
    """The first record that is not read yet, and how many places there are from it to the end."""

    first: ConsumedRecord
    places: int


class _Consumer(Protocol):
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def assign(self, partitions: Sequence[Place]) -> None: ...
    def seek(self, partition: Place, offset: int) -> None: ...
    async def position(self, partition: Place) -> int: ...
    def highwater(self, partition: Place) -> int | None: ...
    async def beginning_offsets(self, partitions: Sequence[Place]) -> Mapping[Place, int]: ...
    async def committed(self, partition: Place) -> int | None: ...
    async def commit(self, offsets: Mapping[Place, int]) -> None: ...
    async def getmany(
        self, *, timeout_ms: int, max_records: int
    ) -> Mapping[Place, Sequence[Message]]: ...


class Shelf:
    """One topic to read in; `group_id` names a bookmark, which nothing but this moves."""

    def __init__(self, consumer: _Consumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic

    @classmethod
    @asynccontextmanager
    async def open(
        cls, config: KafkaConfig, topic: str, group_id: str, *, sees_aborted: bool = False
    ) -> AsyncIterator[Shelf]:
        """`sees_aborted`: also what was never committed. Raises Unavailable."""
        with our_errors():
            consumer = cast(
                "_Consumer",
                AIOKafkaConsumer(
                    **link(config),
                    group_id=group_id,
                    enable_auto_commit=False,
                    auto_offset_reset="earliest",
                    isolation_level="read_uncommitted" if sees_aborted else "read_committed",
                    fetch_max_wait_ms=FETCH_WAIT_MILLISECONDS,
                ),
            )
        async with closing(consumer.stop, STOP_TIMEOUT_SECONDS):
            with our_errors():
                async with asyncio.timeout(START_TIMEOUT_SECONDS):
                    await consumer.start()
            yield cls(consumer, topic)

    async def read(self, partition: int, offset: int = 0) -> AsyncIterator[list[ConsumedRecord]]:
        """From `offset`, or the first record that is left, to the end as of the first answer."""
        place = self._place(partition)
        with our_errors():
            first = (await self._consumer.beginning_offsets([place]))[place]
            self._consumer.assign([place])
            self._consumer.seek(place, max(first, offset))  # no await since `assign`
        end: int | None = None
        position = -1
        while end is None or position < end:
            found, position, highwater = await self._fetch(place)
            end = highwater if end is None else end
            if records := [record for record in found if record.offset < end]:
                yield records

    async def bookmark(self, partition: int) -> int:
        """Where reading should go on; 0 where nobody has read yet."""
        with our_errors():
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                place = self._place(partition)
                self._consumer.assign([place])
                return await self._consumer.committed(place) or 0

    async def first_after(self, partition: int, offset: int) -> Ahead | None:
        """What lies from `offset` on, as of the first answer; None where there is no record."""
        async for records in self.read(partition, offset):
            end = self._consumer.highwater(self._place(partition)) or 0
            return Ahead(records[0], max(1, end - records[0].offset))
        return None

    async def set_bookmark(self, partition: int, offset: int) -> None:
        """Of the partition that was read last."""
        with our_errors():
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                await self._consumer.commit({self._place(partition): offset})

    async def _fetch(self, place: Place) -> tuple[list[ConsumedRecord], int, int]:
        """What comes next, where reading is then, and the end of the partition as of now."""
        with our_errors():
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                while True:
                    found = await self._consumer.getmany(
                        timeout_ms=FETCH_WAIT_MILLISECONDS, max_records=BATCH_RECORDS_MAX
                    )
                    position = await self._consumer.position(place)
                    highwater = self._consumer.highwater(place)
                    if highwater is not None and (found or position >= highwater):
                        break
        records = [consumed(each) for messages in found.values() for each in messages]
        return records, position, highwater

    def _place(self, partition: int) -> Place:
        return cast("Place", TopicPartition(self._topic, partition))
