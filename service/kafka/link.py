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
from typing import TypedDict

import aiokafka.client
from aiokafka.errors import ConsumerStoppedError, IllegalOperation, KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from service.errors import Unavailable
from service.kafka.config import KafkaConfig
from service.kafka.refusal import why_refused

METADATA_AGE_SECONDS = 30

# Asking for a topic must never make it: a broker that makes topics on demand would give them its
# own defaults. The client has no option for this, so its request is bound to `False` here.
aiokafka.client.MetadataRequest = partial(MetadataRequest, allow_auto_topic_creation=False)


@dataclass(slots=True)
class _Reason:
    """Why no broker let us in, for the block that waits for a connection. Only the last reason is
    kept: the client's own tasks go on connecting, and noting here, long after the block."""

    last: str | None = None


# Where no broker lets us in, the client logs why and tells its caller nothing. Its connections are
# made by the one function bound here, which notes the reason.
_reason: ContextVar[_Reason | None] = ContextVar("reason", default=None)
_create_connection = aiokafka.client.create_conn


async def _create_noting(*arguments: object, **options: object) -> object:
    try:
        return await _create_connection(*arguments, **options)
    except (KafkaError, OSError) as error:
        noted, why = _reason.get(), why_refused(error)
        if noted is not None and why is not None:
            noted.last = why
        raise


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
    """Whatever the client throws when a link is broken, as Unavailable."""
    noted = _Reason()
    noting = _reason.set(noted)
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Unavailable("broker_unavailable", "The link to Kafka broke.") from error
    except (KafkaError, ConsumerStoppedError, IllegalOperation, OSError, TimeoutError) as error:
        detail = f"Kafka did not answer ({type(error).__name__})."
        raise Unavailable("broker_unavailable", noted.last or detail) from error
    finally:
        _reason.reset(noting)
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError  # the client may have eaten it, while it was closing


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
