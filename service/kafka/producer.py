"""Sends records, and knows when they are safe.

Invariant: `send` returns only when every in-sync replica has every record. Of one partition's
records none is sent before those ahead of it are acknowledged, so a failure leaves no hole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import cast

from aiokafka import AIOKafkaProducer

from service.kafka.config import KafkaConfig
from service.kafka.link import link, our_errors
from service.kafka.partitioner import partition_for
from service.kafka.records import Record
from service.kafka.sending import (
    BACKOFF_MILLISECONDS,
    BATCH_BYTES_MAX,
    SEND_TIMEOUT_SECONDS,
    Sending,
    Slot,
    opened,
    send_all,
)


class Producer:
    """A link for sending. After any Unavailable, close it and connect another."""

    def __init__(self, producer: Sending) -> None:
        self._producer = producer

    @classmethod
    @asynccontextmanager
    async def connect(cls, config: KafkaConfig) -> AsyncIterator[Producer]:
        """Raises Unavailable where no broker answers."""
        with our_errors():
            producer = cast(
                "Sending",
                AIOKafkaProducer(
                    **link(config),
                    acks="all",
                    enable_idempotence=config.idempotence,
                    max_batch_size=BATCH_BYTES_MAX,
                    retry_backoff_ms=BACKOFF_MILLISECONDS,
                ),
            )
        async with opened(producer, producer.start):
            yield cls(producer)

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
        placed = {Slot(topic, partition): of_one for partition, of_one in records.items()}
        with our_errors():
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                offsets = await send_all(self._producer, placed)
        return {slot.partition: offset for slot, offset in offsets.items()}
