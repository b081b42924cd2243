"""Sends records in transactions: all of one become visible to who reads committed, or none.

Invariants: of all producers with one transactional id only the one that started last gets anything
in; and after any error nothing is tried again with the same producer, for how its transaction ended
is known only to Kafka, which tells the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Protocol, cast

import aiokafka.producer.sender
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    IllegalOperation,
    IncompatibleBrokerVersion,
    KafkaError,
    ProducerFenced,
    TransactionalIdAuthorizationFailed,
    UnknownError,
    UnsupportedVersionError,
)
from aiokafka.structs import TopicPartition

from service.errors import ConfigurationError, CustomersError, Unavailable
from service.kafka.config import KafkaConfig
from service.kafka.link import link, our_errors
from service.kafka.records import Record
from service.kafka.sending import (
    BACKOFF_MILLISECONDS,
    BATCH_BYTES_MAX,
    SEND_TIMEOUT_SECONDS,
    Sending,
    Slot,
    heard,
    opened,
    send_all,
)

TRANSACTION_TIMEOUT_SECONDS = 10.0  # then Kafka aborts what nobody has ended
COMMIT_TIMEOUT_SECONDS = 10.0
NEXT_TRANSACTION_SECONDS = 0.002

_FENCED = "another producer has the transactional id now"

# A commit is answered before it is written to every partition, and until then Kafka refuses the
# next transaction. The client asks again after 20 ms, which no option of its changes.
aiokafka.producer.sender.BACKOFF_OVERRIDE = NEXT_TRANSACTION_SECONDS


class Fenced(CustomersError):
    """Another producer has started with the same transactional id, or ours was away for too long:
    nothing of ours gets in any more."""


class _Manager(Protocol):
    def maybe_add_partition_to_txn(self, partition: object) -> None: ...
    def is_fatal_error(self) -> bool: ...
    def wait_for_transaction_end(self) -> asyncio.Future[None] | None: ...


class _Producer(Sending, Protocol):
    _txn_manager: _Manager

    async def begin_transaction(self) -> None: ...
    async def commit_transaction(self) -> None: ...
    async def abort_transaction(self) -> None: ...


class TransactionalProducer:
    """One transaction after the other. After any error, close it and connect another."""

    def __init__(self, producer: _Producer) -> None:
        self._producer = producer

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, config: KafkaConfig, transactional_id: str
    ) -> AsyncIterator[TransactionalProducer]:
        """Fences who had the id before; what that one left open has ended when this returns.

        Raises Unavailable, and ConfigurationError where the broker knows no transactions.
        """
        with our_errors():
            producer = cast(
                "_Producer",
                AIOKafkaProducer(
                    **link(config),
                    acks="all",
                    transactional_id=transactional_id,
                    transaction_timeout_ms=round(TRANSACTION_TIMEOUT_SECONDS * 1_000),
                    max_batch_size=BATCH_BYTES_MAX,
                    retry_backoff_ms=BACKOFF_MILLISECONDS,
                ),
            )
        try:
            async with opened(producer, partial(_start, producer, transactional_id)):
                yield cls(producer)
        finally:
            _hear_last(producer)

    async def settle(self, slots: Collection[Slot]) -> None:
        """End, by an empty transaction, whatever is still open in these partitions.

        A broker that was killed right after it had answered a commit can forget to write it to a
        partition: that stays open for ever, and holds up who reads committed. The end of a later
        transaction of the same id closes it, within a moment of this call's return.
        Raises Unavailable and Fenced.
        """
        with self._errors():
            async with asyncio.timeout(COMMIT_TIMEOUT_SECONDS):
                await self._begin(slots)
                await self._producer.abort_transaction()

    async def write(self, records: Mapping[Slot, Sequence[Record]]) -> Mapping[Slot, int]:
        """Begin a transaction and send in it; the offset of the first record in each partition.

        Nobody who reads committed sees any of it before `commit`. Raises Unavailable and Fenced.
        """
        with self._errors():
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                await self._begin(records.keys())
                return await send_all(self._producer, records)

    async def commit(self) -> None:
        """Raises Unavailable and Fenced; then only Kafka knows whether it was committed."""
        with self._errors():
            async with asyncio.timeout(COMMIT_TIMEOUT_SECONDS):
                self._expect_alive()
                await self._producer.commit_transaction()

    async def _begin(self, slots: Collection[Slot]) -> None:
        self._expect_alive()
        await self._producer.begin_transaction()
        manager = self._producer._txn_manager  # noqa: SLF001 - the client has no public way
        if (ending := manager.wait_for_transaction_end()) is not None:
            ending.add_done_callback(heard)
        # Joined all at once: the client would ask for one partition after the other, and for none
        # to which nothing is sent.
        for slot in slots:
            manager.maybe_add_partition_to_txn(TopicPartition(*slot))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with our_errors():
            try:
                yield
            except ProducerFenced as error:
                raise Fenced(_FENCED) from error
            except (IllegalOperation, AssertionError):  # how it says that it has ended meanwhile
                self._expect_alive()
                raise

    def _expect_alive(self) -> None:
        """Raise what has ended the client's own work, of which it says nothing by itself."""
        manager = self._producer._txn_manager  # noqa: SLF001 - it only asserts that there is none
        ending = manager.wait_for_transaction_end()
        if not manager.is_fatal_error():
            return
        if ending is None:
            raise KafkaError("ended before the first transaction")
        try:
            ending.result()
        except ProducerFenced as error:
            raise Fenced(_FENCED) from error


async def _start(producer: _Producer, transactional_id: str) -> None:
    try:
        await producer.start()
    except (IncompatibleBrokerVersion, UnsupportedVersionError, UnknownError) as error:
        raise ConfigurationError(
            f"this Kafka refuses transactions ({type(error).__name__}), which exactly-once needs:"
            " set CUSTOMERS_KAFKA_DELIVERY=at-least-once"
        ) from error
    except TransactionalIdAuthorizationFailed as error:
        detail = f"Kafka's access rules refuse us Write on transactional id {transactional_id}."
        raise Unavailable("broker_unavailable", detail) from error


def _hear_last(producer: _Producer) -> None:
    """An error that came between two transactions has nobody who awaits it."""
    ending = producer._txn_manager.wait_for_transaction_end()  # noqa: SLF001 - see `_begin`
    if ending is not None:
        ending.add_done_callback(heard)
