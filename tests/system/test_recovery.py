"""Every role is killed under load and started again; nothing that was acknowledged is lost.

Invariant: callers repeat a write under its key until they are told what became of it, so at the
end each is in the log once, whatever died between its commit and its answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.support.topics import eventually
from tests.system.checking import check_everything
from tests.system.installation import Installation, Role
from tests.system.traffic import Ledger, Load, under_load

# The stand-in loses its records with its process, and its groups with their members.
pytestmark = pytest.mark.real_kafka

BETWEEN = 40  # acknowledged writes from one blow to the next
KILLS = 2
APPLIED = 'customers_projection_batch_events_sum{projection="customers"}'
TAKES_OVER_WITHIN_SECONDS = 8.0  # a lease of 2 s, and a start on a busy machine


@dataclass
class Running:
    """One of each role; what was killed is replaced here when it runs again."""

    system: Installation
    api: Role
    relay: Role
    projections: Role
    ledger: Ledger = field(default_factory=Ledger)

    async def check(self) -> None:
        await check_everything(self.system, self.api, self.ledger)
        assert self.ledger.statuses.keys() <= {200, 201, 409, 503}
        assert self.ledger.problems.keys() <= {"idempotency_in_flight", "database_unavailable"}


@pytest.fixture(scope="module")
async def running(installation: Installation) -> Running:
    roles = [installation.launch(name) for name in ("api", "relay", "projections")]
    await installation.until_ready(*roles)
    return Running(installation, *roles)


async def test_an_api(running: Running) -> None:
    async with under_load(running.system, [running.api], running.ledger) as load:
        for _ in range(KILLS):
            await load.grows(BETWEEN)
            running.api.kill()
            running.api = await running.system.start_again(running.api)
        await load.grows(BETWEEN)
    assert running.ledger.lost > 0
    await running.check()


async def test_one_of_two_apis(running: Running) -> None:
    """Callers go on at the other one."""
    other = await running.system.start("api")
    async with under_load(running.system, [running.api, other], running.ledger) as load:
        await load.grows(BETWEEN)
        other.kill()
        await load.grows(BETWEEN)
    await running.check()


async def test_a_relay(running: Running) -> None:
    async with under_load(running.system, [running.api], running.ledger) as load:
        for _ in range(KILLS):
            await load.grows(BETWEEN)
            running.relay.kill()
            running.relay = await running.system.start_again(running.relay)
        await load.grows(BETWEEN)
    await running.check()


async def test_a_standby_takes_over(running: Running) -> None:
    standby = await running.system.start("relay")
    assert not await is_publishing(running, standby)
    async with under_load(running.system, [running.api], running.ledger) as load:
        await load.grows(BETWEEN)
        running.relay.kill()
        await eventually(lambda: is_publishing(running, standby), TAKES_OVER_WITHIN_SECONDS)
        running.relay, killed = standby, running.relay
        again = await running.system.start_again(killed)
        await load.grows(BETWEEN)
    assert await is_publishing(running, standby)
    assert not await is_publishing(running, again)
    await running.check()


async def is_publishing(running: Running, relay: Role) -> bool:
    return await running.system.metric(relay, "customers_relay_active") == 1


async def test_a_projections_worker(running: Running) -> None:
    async with under_load(running.system, [running.api], running.ledger) as load:
        await load.grows(BETWEEN)
        running.projections.kill()
        await load.grows(BETWEEN)
        running.projections = await running.system.start_again(running.projections)
        await load.grows(BETWEEN)
    await running.check()


async def test_one_of_two_projections_workers(running: Running) -> None:
    """Which of them had which partitions does not matter: the other takes them over."""
    other = await running.system.start("projections")
    async with under_load(running.system, [running.api], running.ledger) as load:
        await has_applied(running, other, load)
        running.projections.kill()
        await load.grows(BETWEEN)
        running.projections = other
    await running.check()


async def has_applied(running: Running, worker: Role, load: Load) -> None:
    """Wait until the worker has a share of the partitions."""

    async def is_so() -> bool:
        return await running.system.metric(worker, APPLIED) > 0

    await eventually(is_so)
    await load.grows(BETWEEN)
