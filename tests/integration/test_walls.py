"""Least privilege: what the user of each process may do in the database, and what it is refused.

Invariant: the list of what is granted is complete. A right that is not written here fails a test.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

import asyncpg
import pytest

from service.errors import RightMissing
from service.event_log import EventLog
from service.events import CustomerDeleted, CustomerTagged, Position
from service.idempotency_expiry import IdempotencyExpiry
from service.identifiers import CustomerId
from service.migrations import migrate
from service.order_intake import Recorder
from service.postgres import Postgres
from service.relay import Lease
from service.rights import ROLES
from tests.support.logs import a_change, a_creation, appending
from tests.support.orders import a_message, add_tenant
from tests.support.projections import Projected
from tests.support.users import users_of
from tests.support.vaults import VAULT
from tests.support.walls import (
    API,
    FIND_GRANTED,
    FIND_PUBLIC,
    GRANTED,
    INTAKE,
    LETTERS,
    MODELS,
    PROJECTIONS,
    RECORDS,
    REFUSED,
    REFUSED_TO_ALL,
    RELAY,
    SCHEMAS,
)


class Grant(NamedTuple):
    role: str
    kind: str
    name: str
    privilege: str


@pytest.fixture
async def walled(database: str) -> str:
    """Migrated once more: what is granted on a database itself is not copied with it."""
    await migrate(database)
    return database


@pytest.fixture
async def users(walled: str) -> AsyncIterator[Mapping[str, str]]:
    async with users_of(walled) as urls:
        yield urls


@pytest.fixture
async def owner(walled: str) -> AsyncIterator[Postgres]:
    async with Postgres.connect(walled) as postgres:
        await add_tenant(postgres, "default")
        yield postgres


def written() -> set[tuple[str, str, str]]:
    """GRANTED as role, letter, name."""
    rows: set[tuple[str, str, str]] = set()
    for line in GRANTED.strip().splitlines():
        role, letters, *names = line.split()
        rows |= {(role, letter, name) for letter in letters for name in names}
    return rows


async def is_refused(connection: asyncpg.Connection, statement: str) -> bool:
    try:
        await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return True
    except asyncpg.PostgresError:
        return False
    return False


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_is_refused_what_it_does_not_need(role: str, users: Mapping[str, str]) -> None:
    connection = await asyncpg.connect(users[role])
    try:
        for statement in (*REFUSED_TO_ALL, *REFUSED[role]):
            assert await is_refused(connection, statement), f"{role} was not refused: {statement}"
    finally:
        await connection.close()


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_cannot_become_the_owner(
    role: str, users: Mapping[str, str], owner: Postgres
) -> None:
    name = await owner.fetch_one(str, "SELECT current_user")
    async with Postgres.connect(users[role]) as postgres:
        with pytest.raises(RightMissing):
            await postgres.execute(f'SET ROLE "{name}"')


async def test_everything_that_is_granted_is_written_down(owner: Postgres) -> None:
    rows = await owner.fetch(Grant, FIND_GRANTED, ROLES)
    found = {(row.role, LETTERS[row.privilege], _shortened(row.name)) for row in rows}
    assert found == written()


def _shortened(name: str) -> str:
    model = next((model for model in MODELS if name.startswith(model)), None)
    return name if model is None else f"{model}*"


async def test_nothing_is_granted_to_everybody(owner: Postgres) -> None:
    assert await owner.fetch(str, FIND_PUBLIC, SCHEMAS) == []


async def test_what_a_role_was_granted_by_hand_is_gone_with_the_next_migrate(
    owner: Postgres, walled: str
) -> None:
    await owner.execute("GRANT SELECT ON vault.customer_key TO customers_intake")
    await owner.execute("GRANT EXECUTE ON FUNCTION log.append TO PUBLIC")
    await migrate(walled)
    await test_everything_that_is_granted_is_written_down(owner)
    publicly = (
        "SELECT has_function_privilege('public', oid, 'EXECUTE') FROM pg_proc WHERE proname = $1"
    )
    assert await owner.fetch(bool, publicly, "append") == [False]


async def test_nobody_can_slip_names_under_a_function_that_runs_by_its_owners_rights(
    owner: Postgres,
) -> None:
    unguarded = await owner.fetch(
        str,
        "SELECT oid::regprocedure::text FROM pg_proc"
        " WHERE prosecdef AND pronamespace::regnamespace::text NOT LIKE 'pg\\_%'"
        " AND NOT coalesce(proconfig @> '{\"search_path=pg_catalog, pg_temp\"}', false)",
    )
    assert unguarded == []


async def test_the_api_appends_reads_and_forgets(users: Mapping[str, str], owner: Postgres) -> None:
    async with Postgres.connect(users[API]) as postgres, appending(postgres) as appender:
        creation = a_creation("jane@example.com")
        jane = creation.customer_id
        await appender.append(creation)
        await appender.append(a_change(jane, 1, CustomerTagged(tags=("vip",))))
        log = EventLog(postgres, VAULT)
        events = [each async for each in log.stream("default", jane)]
        assert [each.event.type for each in events] == ["customer.created", "customer.tagged"]
        await appender.append(a_change(jane, 2, CustomerDeleted())._replace(closes_stream=True))
        forgotten = [each async for each in log.stream("default", jane)]
        assert forgotten[0].is_forgotten
        assert await IdempotencyExpiry(postgres).sweep(asyncio.Event()) == 0


async def test_the_api_makes_the_next_partition_which_nobody_may_write(
    users: Mapping[str, str], owner: Postgres
) -> None:
    await owner.execute("UPDATE log.head SET position = 9999990")
    async with Postgres.connect(users[API]) as postgres, appending(postgres) as appender:
        await appender.append(a_creation("jane@example.com"))
        with pytest.raises(RightMissing):
            await postgres.execute("INSERT INTO log.event_000001 (position) VALUES (1)")
    owned = "SELECT tableowner = current_user FROM pg_tables WHERE tablename = $1"
    assert await owner.fetch(bool, owned, "event_000001") == [True]


@pytest.fixture
async def jane(owner: Postgres) -> CustomerId:
    creation = a_creation("jane@example.com")
    async with appending(owner) as appender:
        await appender.append(creation)
    return creation.customer_id


async def test_the_intake_records_orders_and_nothing_else(
    users: Mapping[str, str], jane: CustomerId
) -> None:
    async with Postgres.connect(users[INTAKE]) as postgres:
        recorder = Recorder(postgres)
        assert await recorder.record([a_message("o1", 1, jane)]) == ["recorded"]
        assert await recorder.record([a_message("o1", 1, jane)]) == ["repeated"]
        with pytest.raises(RightMissing, match=r"for event customer\.deleted"):
            await postgres.execute(
                RECORDS.replace("NULL, NULL)", "'customer.deleted', 1::smallint)")
            )


async def test_the_relay_reads_the_log_with_its_keys_and_keeps_its_lease(
    users: Mapping[str, str], jane: CustomerId
) -> None:
    async with Postgres.connect(users[RELAY]) as postgres:
        page = await EventLog(postgres, VAULT).page(Position(0), limit=10)
        assert [each.decoded().customer_id for each in page] == [jane]
        assert await Lease(postgres, "events").take() is not None


async def test_the_projection_keeps_the_read_model_through_a_deletion(
    users: Mapping[str, str], owner: Postgres
) -> None:
    async with (
        Postgres.connect(users[API]) as api,
        Postgres.connect(users[PROJECTIONS]) as postgres,
        Postgres.connect(users[INTAKE]) as intake,
        appending(api) as appender,
    ):
        world = Projected(postgres, appender)
        creation = a_creation("jane@example.com", tags=("vip",))
        jane = creation.customer_id
        await appender.append(creation)
        await Recorder(intake).record([a_message("o1", 1, jane)])
        await world.catch_up()
        await appender.append(a_change(jane, 2, CustomerDeleted())._replace(closes_stream=True))
        await world.catch_up()
        await world.assert_exact()
        assert world.observed.reasons == world.observed.failures == []


async def test_a_right_that_is_missing_ends_a_projection_and_parks_nobody(
    users: Mapping[str, str], owner: Postgres
) -> None:
    await owner.execute("REVOKE INSERT ON customers_v1.customer FROM customers_projections")
    async with (
        Postgres.connect(users[PROJECTIONS]) as postgres,
        Postgres.connect(users[API]) as api,
        appending(api) as appender,
    ):
        world = Projected(postgres, appender)
        await appender.append(a_creation("jane@example.com"))
        with pytest.raises(RightMissing, match="permission denied for table customer"):
            await world.runner().run()
        assert world.observed.reasons == []
    assert await owner.fetch(int, "SELECT 1 FROM projection.parked") == []
