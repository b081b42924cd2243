"""A read model of the wanted size, filled in bulk, and what there is to ask it for.

Invariant: the seeded customers have no events in the log, so whoever reads the log starts behind
them: the checkpoint is theirs, and `relay_starts_at_head` sets the relay's progress.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from service.kafka import KafkaConfig, Topics
from service.postgres import Postgres, load_statements
from tests.support.read_model_seed import generate, seed_read_model

SQL = load_statements("benchmarks", "benchmarks.sql")
SEARCHES_MAX = 20_000


class Head(NamedTuple):
    epoch: str
    position: int


@dataclass(frozen=True, slots=True)
class Seeded:
    """What is known of the seeded tenant."""

    customers: int
    position: int  # of the log, when the seeding had ended
    ids: list[str]
    emails: list[str]
    names: list[str]  # first and last, of those who share them with nobody


async def seed(database_url: str, customers: int, ids: int) -> Seeded:
    """Fill the read model with so many customers, and forty small tenants beside them."""
    await seed_read_model(database_url, generate(customers))
    async with Postgres.connect(database_url, command_timeout_seconds=300) as postgres:
        head = await postgres.fetch_one(Head, SQL["head"])
        assert head is not None
        return Seeded(
            customers=customers,
            position=head.position,
            ids=await postgres.fetch(str, SQL["some_ids"], ids),
            emails=await postgres.fetch(str, SQL["some_emails"], min(ids, SEARCHES_MAX)),
            names=await postgres.fetch(_as_typed, SQL["some_rare_names"], SEARCHES_MAX),
        )


async def start_relay_at_head(database_url: str, bootstrap_servers: str) -> None:
    config = KafkaConfig(bootstrap_servers)
    async with Topics.connect(config) as topics:
        topic = await topics.describe(config.events_topic.name)
        states = await topics.describe(config.state_topic.name)
    assert topic is not None, "migrate makes it"
    assert states is not None, "the same"
    async with Postgres.connect(database_url, pool_size_max=1) as postgres:
        statement = SQL["relay_starts_at_head"]
        await postgres.execute(statement, topic.name, topic.id, topic.partitions)
        await postgres.execute(SQL["states_start_at_head"], states.id)


def _as_typed(first_key: str, last_key: str) -> str:
    """A sort key is the folded text, a separator, and the text as typed."""
    return " ".join(key.partition("\x01")[2] for key in (first_key, last_key))
