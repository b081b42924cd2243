"""Reads records as a member of a group, from offsets that the caller knows, or the group.

Invariant: where reading begins is the caller's decision, asked for anew with every assignment; a
caller who leaves it to the group goes on where the group has committed. For all others, offsets
that are committed here are for dashboards.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Protocol, TypeAlias, cast

from aiokafka import AIOKafkaConsumer
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.structs import TopicPartition
from typing_extensions import override

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

SESSION_TIMEOUT_SECONDS = 6.0  # the least that brokers allow by default
HEARTBEAT_SECONDS = 2.0
JOIN_TIMEOUT_SECONDS = 10.0  # a group may wait a session's time for its members before it answers
FETCH_WAIT_MILLISECONDS = 100  # how long a broker may hold an answer back for more records
FETCH_BYTES_MAX = 8 * 1024 * 1024
PARTITION_BYTES_MAX = 1024 * 1024

Partitions: TypeAlias = frozenset[int]
Assigned: TypeAlias = Callable[[Partitions], Awaitable[Mapping[int, int]]]
"""Given the partitions that are now ours, from which offset to read each; the earliest where it
says nothing."""

Revoked: TypeAlias = Callable[[Partitions], Awaitable[None]]
"""Called before partitions are given up: the last moment to record what was done with them."""


class _Consumer(Protocol):
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def subscribe(self, topics: Sequence[str], *, listener: object) -> None: ...
    def seek(self, partition: Place, offset: int) -> None: ...
    async def seek_to_beginning(self, *partitions: Place) -> bool: ...
    async def committed(self, partition: Place) -> int | None: ...
    async def commit(self, offsets: Mapping[Place, int]) -> None: ...
    async def getmany(
        self, *, timeout_ms: int, max_records: int
    ) -> Mapping[Place, Sequence[Message]]: ...


class Consumer:
    """A member of a group, reading one topic. After any Unavailable, close it and join anew."""

    def __init__(self, consumer: _Consumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic
        self._broken: BaseException | None = None  # what a callback raised, for the next fetch

    @classmethod
    @asynccontextmanager
    async def join(
        cls,
        config: KafkaConfig,
        topic: str,
        group_id: str,
        *,
        assigned: Assigned | None,
        revoked: Revoked | None = None,
    ) -> AsyncIterator[Consumer]:
        """Raises Unavailable where no broker answers. Partitions come when the group agrees.

        `assigned` None: each is read on from where the group has committed, else from the earliest.
        """
        with our_errors():
            consumer = cast(
                "_Consumer",
                AIOKafkaConsumer(
                    **link(replace(config, request_timeout_seconds=JOIN_TIMEOUT_SECONDS)),
                    group_id=group_id,
                    enable_auto_commit=False,
                    auto_offset_reset="earliest",
                    isolation_level="read_committed",
                    session_timeout_ms=round(SESSION_TIMEOUT_SECONDS * 1_000),
                    heartbeat_interval_ms=round(HEARTBEAT_SECONDS * 1_000),
                    fetch_max_wait_ms=FETCH_WAIT_MILLISECONDS,
                    fetch_max_bytes=FETCH_BYTES_MAX,
                    max_partition_fetch_bytes=PARTITION_BYTES_MAX,
                ),
            )
        member = cls(consumer, topic)
        listener = _Listener(member, assigned, revoked)
        async with closing(consumer.stop, STOP_TIMEOUT_SECONDS):
            with our_errors():
                async with asyncio.timeout(START_TIMEOUT_SECONDS):
                    consumer.subscribe([topic], listener=listener)
                    await consumer.start()
            yield member

    async def fetch(self, *, wait_seconds: float, records_max: int) -> list[ConsumedRecord]:
        """What has come, in order within each partition; empty after `wait_seconds`.

        Raises Unavailable, and whatever the callbacks raised.
        """
        if self._broken is not None:
            raise self._broken
        with our_errors():
            found = await self._consumer.getmany(
                timeout_ms=round(wait_seconds * 1_000), max_records=records_max
            )
        if self._broken is not None:
            raise self._broken
        return [consumed(message) for messages in found.values() for message in messages]

    def seek(self, partition: int, offset: int) -> None:
        """Read a partition that is ours on from `offset`."""
        with our_errors():
            self._consumer.seek(self._place(partition), offset)

    async def committed(self, partition: int) -> int | None:
        with our_errors():
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                return await self._consumer.committed(self._place(partition))

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Tell Kafka the next offset to read, by partition; nothing where none is left to us."""
        if not offsets:
            return
        places = {self._place(partition): offset for partition, offset in offsets.items()}
        with our_errors():
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                await self._consumer.commit(places)

    async def begin(self, assigned: Assigned, partitions: Partitions) -> None:
        """Start reading what was just assigned. For the listener; keeps the error for `fetch`."""
        try:
            offsets = await assigned(partitions)
            for partition in sorted(partitions):
                place = self._place(partition)
                if partition in offsets:
                    self._consumer.seek(place, offsets[partition])
                else:
                    await self._consumer.seek_to_beginning(place)
        except Exception as error:
            self._broken = error
            raise

    async def end(self, revoked: Revoked, partitions: Partitions) -> None:
        """Give up what is taken away. For the listener; keeps the error for `fetch`."""
        try:
            await revoked(partitions)
        except Exception as error:
            self._broken = error
            raise

    def _place(self, partition: int) -> Place:
        return cast("Place", TopicPartition(self._topic, partition))


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc, no-any-unimported]
    """aiokafka logs what a listener raises and goes on; so the member remembers it."""

    def __init__(
        self, member: Consumer, assigned: Assigned | None, revoked: Revoked | None
    ) -> None:
        self._member = member
        self._assigned = assigned
        self._revoked = revoked

    @override
    async def on_partitions_assigned(self, assigned: Sequence[Place]) -> None:
        if self._assigned is not None:
            await self._member.begin(self._assigned, _numbers(assigned))

    @override
    async def on_partitions_revoked(self, revoked: Sequence[Place]) -> None:
        if self._revoked is not None and revoked:
            await self._member.end(self._revoked, _numbers(revoked))


def _numbers(places: Sequence[Place]) -> Partitions:
    return frozenset(place.partition for place in places)
