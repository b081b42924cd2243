"""Poison in the log, put there by a superuser's hand, and what was parked by it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from projections.parked import Parked, parked_customers
from projections.release import Outcome, Release
from projections.store import Store
from service.event_log import EventLog
from service.events import CustomerTagged, OrderRecorded
from service.identifiers import CustomerId
from service.postgres import Postgres
from tests.support.histories import an_order
from tests.support.logs import a_change, a_creation
from tests.support.projections import Projected
from tests.support.topics import eventually
from tests.support.vaults import VAULT

NEWER = 90  # added to an event's schema version: a newer release seems to have written it

SPOIL = """
UPDATE log.event SET schema_version = schema_version + $3
WHERE customer_id = $1 AND version = ANY ($2) AND schema_version < $3
"""
MEND = "UPDATE log.event SET schema_version = schema_version - $1 WHERE schema_version > $1"


async def spoil(postgres: Postgres, customer_id: str, *versions: int) -> None:
    """Events become such as no release can read yet."""
    await change_the_log(postgres, SPOIL, customer_id, versions, NEWER)


async def mend(postgres: Postgres) -> None:
    """The release that can read them is here."""
    await change_the_log(postgres, MEND, NEWER)


async def change_the_log(postgres: Postgres, statement: str, *arguments: object) -> None:
    """As nobody may but a superuser who switches the triggers off."""
    async with postgres.transaction() as transaction:
        await transaction.execute("SET LOCAL session_replication_role = replica")
        await transaction.execute(statement, *arguments)


async def a_customer(
    world: Projected, *, tags: int, orders: int = 0, email: str = "jane@example.com"
) -> CustomerId:
    """Made, tagged so often, and sold to: an event each."""
    creation = a_creation(email, tags=("first",))
    await world.appender.append(creation)
    await tag(world, creation.customer_id, 1, tags)
    for number in range(orders):
        event = OrderRecorded(order=an_order(f"ord_{number}", 1, total=100 + number))
        await world.appender.append(a_change(creation.customer_id, 1 + tags + number, event))
    return creation.customer_id


async def tag(world: Projected, customer_id: CustomerId, version: int, count: int = 1) -> None:
    for number in range(version, version + count):
        event = CustomerTagged(tags=(f"tag {number}",))
        await world.appender.append(a_change(customer_id, number, event))


def a_release(postgres: Postgres) -> Release:
    """As the command has it: with tags of its own to remember."""
    return Release(postgres, Store(postgres), EventLog(postgres, VAULT))


async def released(world: Projected, customer_id: str) -> Outcome:
    outcome = await a_release(world.postgres).release(customer_id)
    assert outcome is not None
    return outcome


async def parked(world: Projected) -> Sequence[Parked]:
    return [each async for each in parked_customers(world.postgres, projection=world.served)]


async def stale(world: Projected) -> Sequence[str]:
    return await world.postgres.fetch(
        str, "SELECT id FROM read_model.customer WHERE is_stale ORDER BY id"
    )


async def assert_all_is_shown(world: Projected) -> None:
    assert await parked(world) == []
    assert await stale(world) == []
    await world.assert_exact()


WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
AND datname = current_database() AND query LIKE '%projection.amendment%'
"""


@asynccontextmanager
async def amendments_held_up(world: Projected) -> AsyncIterator[None]:
    """Whoever releases has read what it is going to write, and waits for the end of the block."""
    async with world.postgres.transaction() as transaction:
        await transaction.execute("UPDATE projection.amendment SET number = number")
        yield


async def is_waiting(world: Projected) -> bool:
    return bool(await world.postgres.fetch_one(int, WAITING))


async def wait_until_held_up(world: Projected) -> None:
    async def holds() -> bool:
        return await is_waiting(world)

    await eventually(holds)
