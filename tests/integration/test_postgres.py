"""What PostgreSQL refuses, as ours: the moment's faults are waited for, a wrong value is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.errors import (
    ConfigurationError,
    ConnectionLost,
    Corrupt,
    CustomersError,
    RightMissing,
    RolledBack,
    Unavailable,
)
from service.postgres import ConstraintViolated, Postgres
from tests.support.passage import Passage
from tests.support.topics import eventually

SOON_SECONDS = 0.1
AGE_SETTING = "transaction_timeout"

REFUSALS: tuple[tuple[type[CustomersError], str], ...] = (
    (Unavailable, "25006 25P02 25P03 25P04"),
    (Unavailable, "28000 28P01 3D000"),
    (Unavailable, "40000 40002 40003"),
    (RolledBack, "40001 40P01"),
    (Unavailable, "53000 53100 53200 53300 53400 53999"),
    (Unavailable, "55000 55006 55P03"),
    (Unavailable, "57000 57014 57P03 57P04 57P05"),
    (Unavailable, "58000 58030 58P01"),
    (Unavailable, "XX000 XX001 XX002"),
    (Unavailable, "42P01 42703 42883 3F000"),
    (ConnectionLost, "08000 08006 57P01 57P02"),
    (Corrupt, "22000 22003 22021 22P02 42601 42804 54000 54001 P0001"),
    (RightMissing, "42501"),
    (ConstraintViolated, "23000 23505"),
    (Unavailable, "26000 42P05"),
)


@pytest.fixture
async def postgres(database: str) -> AsyncIterator[Postgres]:
    async with Postgres.connect(database) as postgres:
        yield postgres


@pytest.mark.parametrize(
    ("kind", "state"), [(kind, state) for kind, states in REFUSALS for state in states.split()]
)
async def test_what_the_server_says_decides_whether_to_try_again(
    kind: type[CustomersError], state: str, postgres: Postgres
) -> None:
    said = f"DO $$ BEGIN RAISE EXCEPTION 'jane@example.com' USING ERRCODE = '{state}'; END $$"
    with pytest.raises(CustomersError) as raised:
        await postgres.execute(said)
    assert type(raised.value) is kind
    assert "jane@example.com" not in str(raised.value)
    assert await postgres.fetch_one(int, "SELECT 1") == 1


@pytest.mark.parametrize("state", ["26000", "42P05"])
async def test_lost_prepared_statements_name_the_setting(state: str, postgres: Postgres) -> None:
    said = f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{state}'; END $$"
    with pytest.raises(Unavailable, match="set CUSTOMERS_DATABASE_STATEMENT_CACHE=false"):
        await postgres.execute(said)


async def test_a_session_that_the_server_ends_leaves_it_open_what_was_done(
    postgres: Postgres,
) -> None:
    with pytest.raises(ConnectionLost):
        await postgres.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert await postgres.fetch_one(int, "SELECT 1") == 1


async def test_a_plan_from_before_a_migration_is_made_anew(postgres: Postgres) -> None:
    await postgres.execute("CREATE TABLE shape (a integer)")
    question = "SELECT * FROM shape"
    async with postgres.transaction() as transaction:
        await transaction.fetch(tuple, question)
        await transaction.execute("ALTER TABLE shape ALTER a TYPE text")
        with pytest.raises(Unavailable) as raised:
            await transaction.fetch(tuple, question)
    assert type(raised.value) is Unavailable


async def test_a_pool_that_is_in_use_is_not_a_database_that_is_down(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Postgres.connect(database, pool_size_max=1) as postgres:
        assert await postgres.fetch_one(int, "SELECT 1") == 1  # a new connection may take longer
        monkeypatch.setattr("service.postgres.pool.ACQUIRE_TIMEOUT_SECONDS", SOON_SECONDS)
        async with postgres.transaction():
            with pytest.raises(Unavailable) as raised:
                await postgres.fetch_one(int, "SELECT 1")
        assert (raised.value.code, type(raised.value)) == ("overloaded", Unavailable)
        assert await postgres.fetch_one(int, "SELECT 1") == 1


async def test_a_database_that_never_answers_is_not_a_pool_that_is_in_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.postgres.pool.ACQUIRE_TIMEOUT_SECONDS", SOON_SECONDS)

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with (
        server,
        Postgres.connect(f"postgresql://p@127.0.0.1:{port}/d", pool_size_max=1) as it,
    ):
        tasks = [asyncio.create_task(it.fetch_one(int, "SELECT 1")) for _ in range(3)]
        await asyncio.wait(tasks)
    found = [task.exception() for task in tasks]
    codes = [error.code for error in found if isinstance(error, Unavailable)]
    assert codes == ["database_unavailable"] * 3


async def test_a_server_that_does_not_let_go_of_a_cancelled_statement_hides_nothing(
    database: str, tmp_path: Path
) -> None:
    """The cancellation comes out, not what became of the link."""
    async with Passage.to(database, tmp_path) as passage, Postgres.connect(passage.url) as postgres:
        assert await postgres.fetch_one(int, "SELECT 1") == 1
        asked = asyncio.create_task(postgres.fetch_one(int, "SELECT 1 FROM pg_sleep(60)"))
        await eventually(passage.is_used)
        passage.is_frozen = True
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        passage.is_frozen = False
        assert await postgres.fetch_one(int, "SELECT 2") == 2


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        ("postgresql://p@127.0.0.1:1/d?sslmode=jane", {}),
        ("postgresql://p@127.0.0.1:1/d?target_session_attrs=jane", {}),
        ("postgresql://p@127.0.0.1:jane/d", {}),
        ("postgresql://p@127.0.0.1/d", {"PGPORT": "jane"}),
        ("postgresql://p@127.0.0.1:1/d", {"PGSSLMODE": "jane"}),
        ("jane://p@127.0.0.1:1/d", {}),
    ],
)
async def test_a_value_that_cannot_be_used_is_not_a_database_that_is_down(
    url: str, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    async with Postgres.connect(url) as postgres:
        with pytest.raises(ConfigurationError, match="has a value that cannot be used") as raised:
            await postgres.fetch_one(int, "SELECT 1")
    assert "jane" not in str(raised.value)


async def test_a_brief_transaction_is_ended_where_it_rests_or_takes_long(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.postgres.pool.REST_MS_MAX", 50)
    await postgres.execute("CREATE TABLE note (text text)")

    async def write(statement: str, *, rests: bool) -> None:
        async with postgres.transaction() as transaction:
            await transaction.be_brief()
            await transaction.execute("INSERT INTO note VALUES ('jane')")
            if rests:
                await eventually(lambda: are_free(postgres))
            await transaction.execute(statement)

    with pytest.raises(Unavailable) as raised:
        await write("SELECT pg_sleep(60)", rests=False)
    assert type(raised.value) is Unavailable
    with pytest.raises(ConnectionLost):
        await write("SELECT 1", rests=True)
    assert await postgres.fetch(str, "SELECT text FROM note") == []
    async with postgres.transaction() as transaction:
        await transaction.execute("SELECT pg_sleep(0.2)")  # no trace of it on the connection


async def are_free(postgres: Postgres) -> bool:
    held = "SELECT count(*) FROM pg_locks WHERE relation = 'note'::regclass AND mode LIKE 'Row%'"
    return await postgres.fetch_one(int, held) == 0


async def test_a_brief_transaction_is_ended_for_its_age(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.postgres.pool.BRIEF_MS_MAX", 200)

    async def work() -> None:
        async with postgres.transaction() as transaction:
            await transaction.be_brief()
            while True:
                await transaction.execute("SELECT pg_sleep(0.01)")

    # Before PostgreSQL 17 only what rests is ended, and this never does.
    can = await postgres.fetch_one(
        bool, "SELECT current_setting($1, true) IS NOT NULL", AGE_SETTING
    )
    with pytest.raises(Unavailable if can else TimeoutError):
        async with asyncio.timeout(20 if can else 1):
            await work()
    assert await postgres.fetch_one(int, "SELECT 1") == 1
