"""How far publishing has come, for those who only look, such as an operator's command.

Invariant: the answer is where a relay that took over now would go on from, by the same reasoning;
nothing is written, and no lease is taken.
"""

from __future__ import annotations

from typing import NamedTuple

from service.kafka import KafkaConfig, Topics
from service.postgres import Postgres
from service.relay.lease import SQL
from service.relay.progress import find_standing, found_topic


class Recorded(NamedTuple):
    """What the database knows. `position` None: nothing was ever published to the topic."""

    is_held: bool  # some process has the right to publish now
    position: int | None


async def recorded_progress(postgres: Postgres, config: KafkaConfig) -> Recorded:
    """Needs no Kafka."""
    found = await postgres.fetch_one(Recorded, SQL["recorded"], config.events_topic.name)
    return found or Recorded(is_held=False, position=None)


async def published_position(postgres: Postgres, config: KafkaConfig) -> int:
    """Everything up to here is in the events topic, or was there and has grown too old.

    Raises Unavailable, and what would end a relay: ConfigurationError and Corrupt.
    """
    async with Topics.connect(config) as topics:
        topic = await found_topic(topics, config.events_topic)
        standing = await find_standing(postgres, config, topics, topic, awaits_open=False)
    return standing.position
