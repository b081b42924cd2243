"""How roles and their rights come to be, whoever migrates: a superuser, an owner with few rights,
several at once."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import asyncpg
import pytest

from service.cli.migrate import migrate as migrate_by_command
from service.migrations import migrate
from service.postgres import Postgres
from service.rights import ROLES
from service.settings import read_settings
from tests.servers.databases import with_database
from tests.servers.server import Handle
from tests.support.logs import a_creation, appending
from tests.support.users import named, users_of

MIGRATIONS_AT_ONCE = 8


@dataclass(frozen=True)
class Owner:
    """A user who owns one empty database and has no other right."""

    name: str
    url: str
    superuser_url: str  # of the same database


@pytest.fixture
async def owner(postgres_server: Handle) -> AsyncIterator[Owner]:
    server = postgres_server.server.address
    name = f"owner_{uuid.uuid4().hex[:12]}"
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'")
        await connection.execute(f"CREATE DATABASE {name} OWNER {name} TEMPLATE template0")
        url = with_database(server, name)
        yield Owner(name, named(name, name, url), url)
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.execute(f"DROP ROLE {name}")
    finally:
        await connection.close()


@pytest.fixture
def settings(owner: Owner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUSTOMERS_DATABASE_URL", owner.url)
    monkeypatch.setenv("CUSTOMERS_DATA_DIRECTORY", str(tmp_path))


async def may_append(url: str) -> bool:
    async with Postgres.connect(url) as postgres:
        question = "SELECT has_function_privilege('customers_api', oid, 'EXECUTE') FROM pg_proc"
        return await postgres.fetch(bool, f"{question} WHERE proname = 'append'") == [True]


async def test_an_owner_who_may_make_no_roles_grants_to_those_that_are_there(
    owner: Owner, database: str
) -> None:
    """`database` is there, so the roles are."""
    await migrate(owner.url)
    assert await may_append(owner.url)
    async with (
        users_of(owner.superuser_url) as users,
        Postgres.connect(users["customers_api"]) as api,
        appending(api) as appender,
    ):
        await appender.append(a_creation("jane@example.com"))


async def test_where_roles_are_missing_one_user_does_everything_and_migrate_says_so(
    owner: Owner,
    settings: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("service.rights.ROLES", (*ROLES, "customers_nobody"))
    await migrate_by_command(read_settings(), as_json=False)
    said = capsys.readouterr().err
    assert "the roles customers_nobody are missing and this user may make none" in said
    assert not await may_append(owner.url)
    async with Postgres.connect(owner.url) as postgres, appending(postgres) as appender:
        await appender.append(a_creation("jane@example.com"))


async def test_migrate_says_where_everybody_may_make_tables(
    owner: Owner, settings: None, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As PostgreSQL up to 14 begins, where `public` belongs to the superuser."""
    async with Postgres.connect(owner.superuser_url) as superuser:
        await superuser.execute(
            "DO $$ BEGIN EXECUTE format('ALTER SCHEMA public OWNER TO %I', current_user); END $$;"
            "GRANT CREATE ON SCHEMA public TO PUBLIC"
        )
    await migrate_by_command(read_settings(), as_json=False)
    assert "let a superuser run ALTER SCHEMA public OWNER TO it" in capsys.readouterr().err
    async with Postgres.connect(owner.superuser_url) as superuser:
        await superuser.execute(f"ALTER SCHEMA public OWNER TO {owner.name}")
    await migrate_by_command(read_settings(), as_json=False)
    assert "ALTER SCHEMA" not in capsys.readouterr().err


async def test_migrate_can_be_repeated_where_nobody_may_make_tables(owner: Owner) -> None:
    await migrate(owner.url)
    async with Postgres.connect(owner.superuser_url) as superuser:
        await superuser.execute(
            "DO $$ BEGIN EXECUTE format('ALTER SCHEMA public OWNER TO %I', current_user); END $$"
        )
    assert await migrate(owner.url) == []


async def test_migrations_of_many_databases_make_the_same_roles_at_once(database: str) -> None:
    script = (files("service") / "sql" / "roles.sql").read_text(encoding="utf-8")
    prefix = f"race_{uuid.uuid4().hex[:12]}"
    raced = script.replace("customers_", f"{prefix}_")
    connections = [await asyncpg.connect(database) for _ in range(MIGRATIONS_AT_ONCE)]
    try:
        await asyncio.gather(*(each.execute(raced) for each in connections))
        question = "SELECT rolname FROM pg_roles WHERE rolname LIKE $1 AND NOT rolcanlogin"
        made = [row["rolname"] for row in await connections[0].fetch(question, f"{prefix}%")]
        assert sorted(made) == sorted(role.replace("customers", prefix) for role in ROLES)
        for role in made:
            await connections[0].execute(f"DROP ROLE {role}")
    finally:
        for each in connections:
            await each.close()


def test_the_script_makes_the_roles_that_are_granted_to() -> None:
    script = (files("service") / "sql" / "roles.sql").read_text(encoding="utf-8")
    assert ", ".join(f"'{role}'" for role in ROLES) in script
