"""What a feed lacks is read from the log, and what cannot be read stops its customer alike."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from service.errors import Corrupt
from service.event_log import EventLog, StoredEvent
from service.events import Position
from tests.support.parking import (
    a_customer,
    assert_all_is_shown,
    change_the_log,
    mend,
    parked,
    released,
    spoil,
)
from tests.support.projections import Projected, projected
from tests.support.vaults import VAULT

BREAK = "UPDATE log.event SET sealed = NULL, data = '{}' WHERE customer_id = $1 AND version = 3"


@pytest.fixture
async def world(database: str) -> AsyncIterator[Projected]:
    async with projected(database) as made:
        yield made


async def the_log(world: Projected) -> list[StoredEvent]:
    return await EventLog(world.postgres, VAULT).page(Position(0))


async def stops(world: Projected) -> list[tuple[int, int, str]]:
    return [(each.version, each.position, each.reason) for each in await parked(world)]


@pytest.mark.parametrize("lacking", [0, 4])
async def test_an_event_of_a_newer_release_stops_its_customer_alike(
    world: Projected, lacking: int
) -> None:
    """Heard of in its turn, and found where something was lacking."""
    customer_id = await a_customer(world, tags=5)
    await spoil(world.postgres, customer_id, 3)
    await world.applier().apply((await the_log(world))[lacking:], [])
    assert await stops(world) == [(3, 3, "unknown_type")]
    assert world.observed.reasons == ["unknown_type"]
    await mend(world.postgres)
    assert (await released(world, customer_id)).applied == 4
    await assert_all_is_shown(world)


@pytest.mark.parametrize("lacking", [0, 4])
async def test_an_event_that_is_damaged_stops_its_customer_alike(
    world: Projected, lacking: int
) -> None:
    customer_id = await a_customer(world, tags=5)
    await change_the_log(world.postgres, BREAK, customer_id)
    await world.applier().apply((await the_log(world))[lacking:], [])
    assert await stops(world) == [(3, 3, "undecodable")]
    assert world.observed.reasons == ["undecodable"]


async def test_a_hole_in_the_log_is_an_error(world: Projected) -> None:
    await a_customer(world, tags=5)
    facts = await the_log(world)
    await change_the_log(world.postgres, "DELETE FROM log.event WHERE version = 3")
    with pytest.raises(Corrupt):
        await world.applier().apply(facts[4:], [])


async def test_what_is_lacking_may_be_longer_than_a_page(
    world: Projected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.applier.HEALING_EVENTS_MAX", 2)
    customer_id = await a_customer(world, tags=6)
    await spoil(world.postgres, customer_id, 6)
    await world.applier().apply((await the_log(world))[-1:], [])
    assert await stops(world) == [(6, 6, "unknown_type")]
    await mend(world.postgres)
    assert (await released(world, customer_id)).applied == 2
    await assert_all_is_shown(world)
