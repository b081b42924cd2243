"""What every connection to Kafka shares: its options, and its errors as ours.

Invariant: a CancelledError that nobody here asked for is a broken link. When a broker dies,
aiokafka can let one of its own out, and a TaskGroup would take it for a child that ended well. One
that somebody asked for is never lost, though the client eats some of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypedDict, cast

import aiokafka.client
import aiokafka.consumer.fetcher
from aiokafka.errors import (
    ConsumerStoppedError,
    IllegalOperation,
    KafkaError,
    UnsupportedCodecError,
)
from aiokafka.protocol.metadata import MetadataRequest

from service.errors import ConfigurationError, Unavailable
from service.kafka.batches import Batches
from service.kafka.config import KafkaConfig
from service.kafka.refusal import why_refused

METADATA_AGE_SECONDS = 30
START_TIMEOUT_SECONDS = 15.0  # of whoever reads
REQUEST_TIMEOUT_SECONDS = 10.0  # for an answer, with what the client asks on its own before
STOP_TIMEOUT_SECONDS = 5.0

# Asking for a topic must never make it: a broker that makes topics on demand would give them its
# own defaults. The client has no option for this, so its request is bound to `False` here.
aiokafka.client.MetadataRequest = partial(MetadataRequest, allow_auto_topic_creation=False)

# What anybody may write must not stop a reader. Whoever reads unpacks by the name bound here.
aiokafka.consumer.fetcher.MemoryRecords = Batches


class _Connection(Protocol):
    def close(self) -> object: ...


@dataclass(slots=True)
class _Noted:
    """What became of connecting, for the block that waits for it. Only the last of each is kept:
    the client's own tasks go on connecting, and noting here, long after the block."""

    reason: str | None = None  # why no broker let us in
    connection: _Connection | None = None


# Where no broker lets us in, the client logs why and tells its caller nothing; where it is given up
# while it asks for the cluster, it leaves its connection open. All of its connections are made by
# the one function bound here, which notes them.
_noted: ContextVar[_Noted | None] = ContextVar("noted", default=None)
_create_connection = aiokafka.client.create_conn


async def _create_noting(*arguments: object, **options: object) -> _Connection:
    noted = _noted.get() or _Noted()
    try:
        connection = cast("_Connection", await _create_connection(*arguments, **options))
    except (KafkaError, OSError) as error:
        noted.reason = why_refused(error) or noted.reason
        raise
    noted.connection = connection
    return connection


aiokafka.client.create_conn = _create_noting


class Link(TypedDict):
    """The options that producer, consumer and administration have in common."""

    bootstrap_servers: str
    client_id: str
    request_timeout_ms: int
    metadata_max_age_ms: int
    security_protocol: str
    ssl_context: object
    sasl_mechanism: str | None
    sasl_plain_username: str | None
    sasl_plain_password: str | None


def link(config: KafkaConfig) -> Link:
    """Raises ConfigurationError for certificate files that cannot be used."""
    return Link(
        bootstrap_servers=config.bootstrap_servers,
        client_id=config.client_id,
        request_timeout_ms=round(config.request_timeout_seconds * 1_000),
        metadata_max_age_ms=METADATA_AGE_SECONDS * 1_000,
        security_protocol=config.security_protocol,
        ssl_context=config.tls(),
        sasl_mechanism=config.sasl_mechanism,
        sasl_plain_username=config.sasl_username,
        sasl_plain_password=config.sasl_password,
    )


@contextmanager
def our_errors() -> Iterator[None]:
    """Whatever the client throws when a link is broken, as Unavailable.

    Raises ConfigurationError for what no other link would mend.
    """
    noted = _Noted()
    noting = _noted.set(noted)
    try:
        with _hanging_up(noted):
            yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Unavailable("broker_unavailable", "The link to Kafka broke.") from error
    except UnsupportedCodecError as error:
        why = "; ".join(map(str, error.args))
        detail = f"Kafka holds records that are compressed as this installation cannot read: {why}"
        raise ConfigurationError(detail) from error
    except (KafkaError, ConsumerStoppedError, IllegalOperation, OSError, TimeoutError) as error:
        detail = f"Kafka did not answer ({type(error).__name__})."
        raise Unavailable("broker_unavailable", noted.reason or detail) from error
    finally:
        _noted.reset(noting)
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError  # the client may have eaten it, while it was closing


@contextmanager
def _hanging_up(noted: _Noted) -> Iterator[None]:
    """Nobody goes on with a link after an error."""
    try:
        yield
    except BaseException:
        if noted.connection is not None:
            noted.connection.close()
        raise


@asynccontextmanager
async def closing(
    close: Callable[[], Awaitable[None]], timeout_seconds: float
) -> AsyncIterator[None]:
    """Close when the block ends, within a time limit.

    Invariant: what ends the block is what comes out. Only the close's own Unavailable is dropped:
    whoever closes is done with the link, and nothing depends on how it ends.
    """
    try:
        yield
    finally:
        with suppress(Unavailable), our_errors():
            async with asyncio.timeout(timeout_seconds):
                await close()
