"""How everything is, as `customers status` and the console show it: PostgreSQL's side and Kafka's.

Invariant: a Kafka that does not answer, or does not let us look, takes away only what it alone
knows, and never more than KAFKA_SECONDS_MAX.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from projections.checkpoint import CUSTOMERS
from projections.state_store import STATES
from service.errors import CustomersError, Unavailable
from service.kafka import KafkaConfig
from service.order_intake import waiting_letters, waiting_orders
from service.postgres import Postgres
from service.standing import KafkaSide, Overview, Standing, read_standing

KAFKA_SECONDS_MAX = 5.0
WAIT_SECONDS = 15.0  # for a look of one's own, or another one's before
KEPT_SECONDS = 2.0  # however many people look, Kafka is asked no more often


async def look(
    postgres: Postgres, config: KafkaConfig, *, published: int | None = None
) -> Overview:
    """`config` without servers: there is no Kafka. `published`: what Kafka holds of the log, where
    that was looked at before. Raises Unavailable where PostgreSQL does not answer."""
    has_kafka = bool(config.bootstrap_servers)
    expected = [CUSTOMERS.name, STATES.name] if has_kafka else [CUSTOMERS.name]
    topic = config.events_topic.name
    standing = await read_standing(postgres, topic, expected, published=published)
    return Overview(standing, await _kafka_side(config, standing) if has_kafka else None)


async def _kafka_side(config: KafkaConfig, standing: Standing) -> KafkaSide:
    now = datetime.now(UTC)
    try:
        async with asyncio.timeout(KAFKA_SECONDS_MAX):
            orders = await waiting_orders(config, standing.head.epoch, now)
            letters = await waiting_letters(config, now)
    except TimeoutError:
        return KafkaSide(problem="Kafka does not answer.")
    except CustomersError as error:
        return KafkaSide(problem=why(error))
    return KafkaSide(orders, letters)


def why(error: CustomersError) -> str:
    """A sentence for people."""
    return error.detail if isinstance(error, Unavailable) else str(error)


class KeptLook:
    """Looks for many who ask: at most once in KEPT_SECONDS, and once at a time."""

    def __init__(self, postgres: Postgres, config: KafkaConfig) -> None:
        self._postgres = postgres
        self._config = config
        self._turn = asyncio.Lock()
        self._kept: Overview | None = None
        self._kept_until = 0.0  # by the event loop's clock

    async def __call__(self) -> Overview:
        """At most KEPT_SECONDS old. Raises Unavailable."""
        try:
            async with asyncio.timeout(WAIT_SECONDS), self._turn:
                return await self._looked()
        except TimeoutError:
            raise Unavailable("database_unavailable", "The database did not answer.") from None

    async def _looked(self) -> Overview:
        time = asyncio.get_running_loop().time
        if self._kept is None or time() >= self._kept_until:
            self._kept = await look(self._postgres, self._config)
            self._kept_until = time() + KEPT_SECONDS
        return self._kept
