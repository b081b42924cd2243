"""docs/projections.md followed to the letter: its files, its commands, beside a system at work.

Invariant: what is run is read from the document; nothing of it is repeated here.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from uuid import uuid4

import pytest

from service.postgres import Postgres
from tests.end_to_end.command import run
from tests.support.derived import (
    a_history_of_sales,
    blocks,
    expected_gaps,
    shown_gaps,
    write_example,
)
from tests.support.logs import appending
from tests.support.orders import an_order
from tests.support.projections import append_history, recorded_events
from tests.support.topics import eventually
from tests.support.users import users_of
from tests.system.installation import Installation, Role, ask

pytestmark = pytest.mark.timeout(300)
EVENTS_BEFORE = 6_000  # some batches
TABLE = "second_order_v1"
LATE = "late_"
PLACE = """
SELECT coalesce(min(position), 0) FROM projection.checkpoint WHERE projection = 'second_order'
"""
HEAD = "SELECT position FROM log.head"
HOLD = """
INSERT INTO derived.second_order_v1 (customer_id, tenant, orders, first_order_at)
VALUES ($1, 'default', '{}', now())
"""
LET_GO = "DELETE FROM derived.second_order_v1 WHERE customer_id = $1"
IS_HELD = """
SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
AND datname = current_database() AND query LIKE '%derived.apply%'
"""


def commands() -> list[list[str]]:
    """What the document says to run, word by word."""
    lines = [line.partition("#")[0].strip() for line in blocks("sh")[0].splitlines()]
    return [line.split()[1:] for line in lines if line.startswith("customers ")]


def settings() -> dict[str, str]:
    """What it says to set, without the prefix."""
    return dict(re.findall(r"^export CUSTOMERS_(\w+)=(\S+)", blocks("sh")[0], re.MULTILINE))


@pytest.fixture
async def postgres(installation: Installation) -> AsyncIterator[Postgres]:
    async with Postgres.connect(installation.database_url) as postgres:
        yield postgres


@pytest.fixture
async def user(installation: Installation) -> AsyncIterator[Mapping[str, str]]:
    """What a worker is given: no more than its role's rights."""
    async with users_of(installation.database_url) as urls:
        yield {"DATABASE_URL": urls["customers_projections"]}


async def fill(system: Installation, postgres: Postgres) -> None:
    """A log that takes several batches, with orders, their changes, and deletions."""
    history = a_history_of_sales(
        Random(7), steps=EVENTS_BEFORE, customers=400, deletion_share=0.002
    )
    await postgres.execute(
        "INSERT INTO access.tenant (name, currency) VALUES ('other', 'EUR') ON CONFLICT DO NOTHING"
    )
    async with appending(postgres, system.vault) as appender:
        await append_history(appender, history)
        last = a_history_of_sales(Random(8), steps=100, customers=5)
        await append_history(appender, last, prefix=LATE)


@asynccontextmanager
async def writing(system: Installation, api: Role) -> AsyncIterator[None]:
    """Customers come by HTTP and change, and a shop sells to them, for as long as the block."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(_write(system, api, stop))
        try:
            yield
        finally:
            stop.set()
            await task


async def _write(system: Installation, api: Role, stop: asyncio.Event) -> None:
    number = 0
    while not stop.is_set() or number < 3:
        number += 1
        customer_id = await create(system, api, f"writer{number}@example.com")
        await ask(system, api, "PUT", f"/user/{customer_id}", {"firstName": "Janet"})
        await buy(system, customer_id, *range(10, 11 + number % 3))


async def create(system: Installation, api: Role, email: str) -> str:
    return str((await ask(system, api, "POST", "/user", {"email": email}))["id"])


async def sell(system: Installation, *orders: Mapping[str, object]) -> None:
    path = system.folder / f"{uuid4().hex}.jsonl"  # several sell at once
    path.write_text("\n".join(map(json.dumps, orders)))
    await system.command("orders", "publish", str(path))


async def buy(system: Installation, customer_id: str, *days: int) -> None:
    """An order on each of these days, each an hour earlier in the day than the one before."""
    times = [f"2024-03-{day}T{8 - number:02}:00:00Z" for number, day in enumerate(days)]
    orders = [
        an_order(f"{customer_id} {number}", 1, customer_id, placedAt=time)
        for number, time in enumerate(times)
    ]
    await sell(system, *orders)


async def is_exact(system: Installation, postgres: Postgres) -> bool:
    if await postgres.fetch_one(int, PLACE) != await postgres.fetch_one(int, HEAD):
        return False
    events = await recorded_events(postgres, system.vault)
    return await shown_gaps(postgres) == expected_gaps(events)


@pytest.fixture(scope="module")
async def system(installation: Installation) -> Installation:
    """With the document's files and settings, a log of some length, and no projection yet."""
    system = replace(installation, settings={**installation.settings, **settings()})
    write_example(system.folder)
    async with Postgres.connect(system.database_url) as postgres:
        await fill(system, postgres)
    return system


@pytest.fixture(scope="module")
async def api(system: Installation) -> Role:
    roles = [system.launch(name) for name in ("api", "relay", "intake")]
    await system.until_ready(*roles)
    return roles[0]


async def test_the_documented_example_is_built_while_the_system_works(
    system: Installation, api: Role, postgres: Postgres, user: Mapping[str, str]
) -> None:
    migrate, project, *_ = commands()
    await system.command(*migrate)
    async with writing(system, api):
        gaps = expected_gaps(await recorded_events(postgres, system.vault))
        late = next(each.customer_id for each in gaps if each.customer_id.startswith(LATE))
        async with postgres.transaction() as transaction:
            await transaction.execute(HOLD, late)
            await die_midway(system, postgres, system.launch(*project, **user))
            await transaction.execute(LET_GO, late)
        worker = await system.start(*project, **user)
        jane = await create(system, api, "jane@example.com")
        await buy(system, jane, 10, 20)
        await eventually(lambda: has_gap(postgres, jane, 9))
        await sell(system, an_order(f"{jane} 1", 2, jane, status="cancelled"))
        await eventually(lambda: has_gap(postgres, jane, None))
        await ask(system, api, "DELETE", f"/user/{jane}")
    await eventually(lambda: is_exact(system, postgres))
    assert worker.failures == []
    await eventually(lambda: tells_its_place(system, worker, postgres))
    assert await places(system, jane) == {"derived.reached": (1, 0), f"derived.{TABLE}": (0, 0)}
    assert await medians(postgres)
    worker.process.stop()


async def test_it_goes_on_from_kafka_and_can_be_dropped(
    system: Installation, api: Role, postgres: Postgres, user: Mapping[str, str]
) -> None:
    """After the test above, where the log has brought it."""
    migrate, project, *_ = commands()
    await system.command(*migrate)
    worker = await system.start(*(word for word in project if word != "--from-log"), **user)
    kim = await create(system, api, "kim@example.com")
    await buy(system, kim, 10, 14)
    await eventually(lambda: has_gap(postgres, kim, 3))
    await eventually(lambda: is_exact(system, postgres))
    assert worker.failures == []
    worker.process.stop()
    await system.command("projections", "drop", "second_order", "1")
    assert await postgres.fetch(str, "SELECT name FROM derived.projection") == []


async def die_midway(system: Installation, postgres: Postgres, worker: Role) -> None:
    """It comes no further than where a row is held up, which is late in the log, and is killed."""

    async def is_held() -> bool:
        return bool(await postgres.fetch_one(int, IS_HELD))

    await eventually(is_held)
    place = await postgres.fetch_one(int, PLACE) or 0
    told = await status(system)
    worker.kill()
    assert 0 < place < (await postgres.fetch_one(int, HEAD) or 0)
    assert told["position"] == place
    assert told["isDown"] is False


async def tells_its_place(system: Installation, worker: Role, postgres: Postgres) -> bool:
    """In its metrics, which it looks after once a second."""
    name = f'customers_projection_position{{projection="{TABLE}"}}'
    return await system.metric(worker, name) == await postgres.fetch_one(int, HEAD)


async def has_gap(postgres: Postgres, customer_id: str, days: int | None) -> bool:
    return any(
        each.customer_id == customer_id and each.days == days for each in await shown_gaps(postgres)
    )


async def status(system: Installation) -> Mapping[str, object]:
    """Its part of `customers status --json`; others may be down."""
    done = await asyncio.to_thread(run, system.folder, "status", "--json", **system.settings)
    part = json.loads(done.stdout)["projections"][TABLE]
    assert isinstance(part, dict)
    return part


async def places(system: Installation, customer_id: str) -> dict[str, tuple[int, int]]:
    """What `erase verify` finds in tables of added projections: rows, and those that tell."""
    done = await asyncio.to_thread(
        run, system.folder, "erase", "verify", customer_id, **system.settings
    )
    found = json.loads(done.stdout)["places"]
    return {
        each["place"]: (each["held"], each["readable"])
        for each in found
        if each["place"].startswith("derived.")
    }


async def medians(postgres: Postgres) -> list[tuple[object, ...]]:
    """The document's question."""
    return await postgres.fetch(lambda *row: row, blocks("sql")[1])
