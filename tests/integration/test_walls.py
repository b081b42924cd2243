"""Least privilege: what the user of each process may do in the database, and what it is refused.

Invariant: the list of what is granted is complete. A right that is not written here fails a test.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
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

API, RELAY, PROJECTIONS, INTAKE = ROLES

# Of every role: the log cannot be rewritten, and nothing can be made, changed or dropped.
REFUSED_TO_ALL = (
    "UPDATE log.event SET type = 'x'",
    "DELETE FROM log.event",
    "TRUNCATE log.event",
    "INSERT INTO log.event SELECT * FROM log.event",
    "INSERT INTO log.event (position) VALUES (1)",
    "COPY log.event FROM STDIN",
    "UPDATE log.event_000000 SET type = 'x'",
    "DELETE FROM log.event_000000",
    "TRUNCATE log.event_000000",
    "INSERT INTO log.event_000000 (position) VALUES (1)",
    "SELECT position FROM log.event_000000",
    "DO $$ BEGIN LOCK TABLE log.event IN ACCESS EXCLUSIVE MODE; END $$",
    "ALTER TABLE log.event DISABLE TRIGGER ALL",
    "ALTER TABLE log.event DISABLE TRIGGER event_append_only",
    "ALTER TABLE log.event ADD COLUMN x integer",
    "ALTER TABLE log.event DETACH PARTITION log.event_000000",
    "DROP TRIGGER event_append_only ON log.event",
    "DROP TABLE log.event",
    "DROP TABLE log.event_000000",
    "DROP FUNCTION log.refuse_change() CASCADE",
    "CREATE OR REPLACE FUNCTION log.refuse_change() RETURNS trigger LANGUAGE sql AS 'SELECT 1'",
    "ALTER FUNCTION log.add_partition() SECURITY INVOKER",
    "SET session_replication_role = replica",
    "SELECT log.add_partition()",
    "UPDATE log.head SET position = 0",
    "UPDATE log.stream SET version = 0",
    "DELETE FROM log.stream",
    "SELECT email FROM log.email_claim",
    "DELETE FROM log.email_claim",
    "DELETE FROM log.idempotency",
    "SELECT digest FROM log.accepted_order",
    "DELETE FROM log.accepted_order",
    "UPDATE vault.customer_key SET wrapped = NULL, destroyed_at = now()",
    "DELETE FROM vault.customer_key",
    "INSERT INTO vault.customer_key (customer_id, wrapped) VALUES ('x', '')",
    "DELETE FROM vault.wrapping_key",
    "UPDATE access.master_key SET fingerprint = ''",
    "INSERT INTO access.token SELECT * FROM access.token",
    "UPDATE access.token SET revoked_at = NULL",
    "INSERT INTO access.tenant (name, currency) VALUES ('x', 'USD')",
    "DELETE FROM public.schema_migration",
    "UPDATE read_model.customer SET document = NULL",
    "CREATE TABLE log.mine (x integer)",
    "CREATE TABLE public.mine (x integer)",
    "CREATE TABLE read_model.mine (x integer)",
    "CREATE TABLE customers_v1.mine (x integer)",
    "CREATE FUNCTION public.mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE TEMPORARY TABLE mine (x integer)",
    "CREATE SCHEMA mine",
    "DROP SCHEMA log CASCADE",
    "DROP SCHEMA vault CASCADE",
    "DROP VIEW read_model.customer",
    "DROP TABLE customers_v1.customer CASCADE",
    "TRUNCATE customers_v1.customer",
    "TRUNCATE projection.checkpoint",
    "ALTER TABLE customers_v1.customer ADD COLUMN x integer",
    "CREATE ROLE mine SUPERUSER",
    "ALTER ROLE customers_api SUPERUSER",
    "CREATE DATABASE mine",
    "ALTER SYSTEM SET fsync = off",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SELECT pg_read_file('PG_VERSION')",
)
APPENDS = f"SELECT log.append({', '.join(['NULL'] * 22)})"
FINDS = "SELECT * FROM log.find_appended(NULL, NULL)"
RECORDS = f"SELECT log.record_orders({', '.join(['NULL'] * 11)})"
RECORDS_ANY = f"SELECT log.record_any_orders({', '.join(['NULL'] * 11)})"
FORGETS = "SELECT log.forget_old_keys(0, 1)"
READS_EVENTS = "SELECT data FROM log.event"
READS_KEYS = "SELECT wrapped FROM vault.customer_key"
READS_TOKENS = "SELECT hash FROM access.token"
READS_TENANTS = "SELECT name FROM access.tenant"
READS_REQUESTS = "SELECT fingerprint FROM log.idempotency"
READS_SHOWN = "SELECT document FROM read_model.customer"
READS_MODEL = "SELECT document FROM customers_v1.customer"
WRITES_MODEL = "UPDATE customers_v1.customer SET document = NULL"
WRITES_PROGRESS = "UPDATE relay.progress SET position = 0"
WRITES_LEASE = "UPDATE relay.lease SET expires_at = '-infinity'"
WRITES_CHECKPOINT = "UPDATE projection.checkpoint SET position = 0"
REFUSED = {
    API: (
        *(RECORDS, RECORDS_ANY, READS_MODEL, WRITES_MODEL, WRITES_PROGRESS, WRITES_LEASE),
        WRITES_CHECKPOINT,
    ),
    RELAY: (
        *(APPENDS, FINDS, RECORDS, RECORDS_ANY, FORGETS, READS_TOKENS, READS_TENANTS),
        *(READS_REQUESTS, READS_SHOWN, READS_MODEL, WRITES_MODEL, WRITES_CHECKPOINT),
    ),
    PROJECTIONS: (
        *(APPENDS, FINDS, RECORDS, RECORDS_ANY, FORGETS, READS_TOKENS, READS_REQUESTS),
        *(WRITES_PROGRESS, WRITES_LEASE),
    ),
    INTAKE: (
        *(APPENDS, FINDS, RECORDS_ANY, FORGETS, READS_EVENTS, READS_KEYS, READS_TOKENS),
        *(READS_TENANTS, READS_REQUESTS, READS_SHOWN, READS_MODEL, WRITES_MODEL),
        *(WRITES_PROGRESS, WRITES_LEASE, WRITES_CHECKPOINT),
    ),
}

# All that is granted, by the letters of PostgreSQL: r SELECT, a INSERT, w UPDATE, d DELETE,
# X EXECUTE, U USAGE. The read models are granted whole, so they are named by their schema.
GRANTED = """
customers_api U access log public read_model vault
customers_api r access.master_key access.tenant access.token
customers_api r log.event log.head log.idempotency log.stream
customers_api r public.schema_migration vault.customer_key vault.wrapping_key read_model.*
customers_api X log.append log.find_appended log.forget_old_keys
customers_relay U access log public relay vault
customers_relay r access.master_key log.event log.head public.schema_migration vault.customer_key
customers_relay arw relay.lease relay.progress
customers_projections U access log public read_model projection vault customers_v1
customers_projections r access.master_key access.tenant log.event log.head log.stream
customers_projections r public.schema_migration vault.customer_key read_model.*
customers_projections arwd projection.* customers_v1.*
customers_projections X projection.* customers_v1.*
customers_intake U access log public
customers_intake r access.master_key log.head public.schema_migration
customers_intake X log.record_orders
"""
FIND_GRANTED = """
SELECT grantee.rolname, named.kind, named.name, acl.privilege_type
FROM (
    SELECT 'U' AS kind, nspname AS name, nspacl AS acl FROM pg_namespace
    UNION ALL
    SELECT 'r', relnamespace::regnamespace || '.' || relname, relacl FROM pg_class
    UNION ALL
    SELECT 'X', pronamespace::regnamespace || '.' || proname, proacl FROM pg_proc
    UNION ALL
    SELECT 'c', attrelid::regclass || '.' || attname, attacl FROM pg_attribute
    UNION ALL
    SELECT 'd', datname, datacl FROM pg_database WHERE datname = current_database()
) AS named, aclexplode(named.acl) AS acl
JOIN pg_roles AS grantee ON grantee.oid = acl.grantee
WHERE grantee.rolname = ANY ($1)
"""
LETTERS = {
    "SELECT": "r",
    "INSERT": "a",
    "UPDATE": "w",
    "DELETE": "d",
    "EXECUTE": "X",
    "USAGE": "U",
}
MODELS = ("read_model.", "projection.", "customers_v1.")


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
        await appender.append(replace(a_change(jane, 2, CustomerDeleted()), closes_stream=True))
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
        await appender.append(replace(a_change(jane, 2, CustomerDeleted()), closes_stream=True))
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
