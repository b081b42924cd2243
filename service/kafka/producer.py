"""Sends records, and knows when they are safe.

Invariant: `send` returns only when every in-sync replica has every record. Of one partition's
records none is sent before those ahead of it are acknowledged, so a failure leaves no hole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol, cast

from aiokafka import AIOKafkaProducer

from service.errors import Unavailable
from service.kafka.config import KafkaConfig
from service.kafka.link import closing, link, our_errors
from service.kafka.partitioner import partition_for
from service.kafka.records import Record

BATCH_BYTES_MAX = 900_000  # below the brokers' default message.max.bytes, 1,048,588
SEND_TIMEOUT_SECONDS = 10.0
STOP_TIMEOUT_SECONDS = 2.0
BACKOFF_MILLISECONDS = 50


class _Sent(NamedTuple):
    offset: int


class _Builder(Protocol):
    def append(
        self,
        *,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes]],
    ) -> object | None: ...


class _Sender(Protocol):
    @property
    def sender_task(self) -> asyncio.Task[None] | None: ...


class _Client(Protocol):
    async def close(self) -> None: ...


class _Producer(Protocol):
    client: _Client
    _sender: _Sender
    _closed: bool

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def partitions_for(self, topic: str) -> set[int]: ...
    def create_batch(self) -> _Builder: ...
    async def send_batch(
        self, batch: _Builder, topic: str, *, partition: int
    ) -> asyncio.Future[_Sent]: ...


class Producer:
    """A link for sending. After any Unavailable, close it and connect another."""

    def __init__(self, producer: _Producer) -> None:
        self._producer = producer

    @classmethod
    @asynccontextmanager
    async def connect(cls, config: KafkaConfig) -> AsyncIterator[Producer]:
        """Raises Unavailable where no broker answers."""
        with our_errors():
            producer = cast(
                "_Producer",
                AIOKafkaProducer(
                    **link(config),
                    acks="all",
                    enable_idempotence=config.idempotence,
                    max_batch_size=BATCH_BYTES_MAX,
                    retry_backoff_ms=BACKOFF_MILLISECONDS,
                ),
            )
        is_whole = False
        try:
            with our_errors():
                async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                    await producer.start()
            yield cls(producer)
            is_whole = True
        finally:
            await (_close(producer) if is_whole else _abandon(producer))

    async def partitions(self, topic: str) -> int:
        with our_errors():
            return len(await self._producer.partitions_for(topic))

    async def send_keyed(self, topic: str, records: Sequence[Record]) -> None:
        """Send records, each to the partition of its key; those without one to the first."""
        count = await self.partitions(topic)
        placed: dict[int, list[Record]] = {}
        for record in records:
            partition = 0 if record.key is None else partition_for(record.key, count)
            placed.setdefault(partition, []).append(record)
        await self.send(topic, placed)

    async def send(self, topic: str, records: Mapping[int, Sequence[Record]]) -> Mapping[int, int]:
        """Send records by partition and wait for all; the offset of the first of each partition.

        Raises Unavailable: any part may then have been written, in each partition a beginning.
        """
        waiting = {partition: list(of_one) for partition, of_one in records.items() if of_one}
        offsets: dict[int, int] = {}
        with our_errors():
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                while waiting:
                    sent = await self._send_one_batch_each(topic, waiting)
                    offsets = sent | offsets
        return offsets

    async def _send_one_batch_each(
        self, topic: str, waiting: dict[int, list[Record]]
    ) -> dict[int, int]:
        """Take from `waiting` what fits into one batch of each partition, and see it written."""
        acknowledgements: dict[int, asyncio.Future[_Sent]] = {}
        for partition in list(waiting):
            builder = self._producer.create_batch()
            fitted = _fill(builder, waiting[partition])
            rest = waiting.pop(partition)[fitted:]
            if rest:
                waiting[partition] = rest
            acknowledgements[partition] = await self._producer.send_batch(
                builder, topic, partition=partition
            )
        answers = await asyncio.gather(*acknowledgements.values(), return_exceptions=True)
        offsets: dict[int, int] = {}
        for partition, answer in zip(acknowledgements, answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            offsets[partition] = answer.offset
        return offsets


def _fill(builder: _Builder, records: Sequence[Record]) -> int:
    """How many of the records fit. A batch takes its first record whatever its size."""
    append = builder.append
    for number, (key, value, headers, timestamp_ms) in enumerate(records):
        a_list = headers if isinstance(headers, list) else list(headers)  # it takes no other
        if append(timestamp=timestamp_ms, key=key, value=value, headers=a_list) is None:
            return number
    return len(records)


async def _close(producer: _Producer) -> None:
    try:
        with our_errors():
            async with asyncio.timeout(STOP_TIMEOUT_SECONDS):
                await producer.stop()
    except Unavailable:
        await _abandon(producer)


async def _abandon(producer: _Producer) -> None:
    """Close it without waiting for what was not sent: for that, the client waits for ever."""
    task = producer._sender.sender_task  # noqa: SLF001 - stop() gives no way to give up
    try:
        async with closing(producer.client.close, STOP_TIMEOUT_SECONDS):
            if task is not None:
                task.cancel()
    finally:  # a cancellation of ours comes out of the block above
        if task is not None and not task.done():
            task.cancel()  # the first one lets it wait for what is on its way
            await asyncio.wait([task], timeout=STOP_TIMEOUT_SECONDS)
        producer._closed = True  # noqa: SLF001 - else it warns that nobody closed it
