"""Lists under load: slow ones wait for each other, and nobody else waits for them."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from pydantic import ValidationError

from service.errors import Unavailable
from service.event_log import EventLog
from service.list_request import ListRequest
from service.postgres import POOL_SIZE_MAX, Postgres
from service.queries import Queries, gets_at_once_max, lists_at_once_max
from service.settings import Settings
from tests.support.logs import a_creation
from tests.support.projections import Projected, projected
from tests.support.topics import eventually
from tests.support.vaults import VAULT

LOCK_BOTH = "LOCK TABLE customers_v1.profile, log.stream IN ACCESS EXCLUSIVE MODE"
LOCK = "LOCK TABLE customers_v1.profile IN ACCESS EXCLUSIVE MODE"  # what every list here reads
STATEMENTS_AT_ONCE_MAX = lists_at_once_max(POOL_SIZE_MAX)
STUCK = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


async def stuck(postgres: Postgres) -> int:
    """How many statements wait for the lock."""
    return await postgres.fetch_one(int, STUCK) or 0


def lists(queries: Queries, number: int) -> list[asyncio.Task[object]]:
    """So many different ones, none of which can be answered with another's answer."""
    asked = (ListRequest(display=display) for display in range(1, number + 1))
    return [asyncio.create_task(queries.list("default", each)) for each in asked]


async def test_slow_lists_leave_connections_to_the_rest(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.queries.list_reader.TURN_WAIT_SECONDS", 0.2)
    async with projected(database) as model:
        customer_id = await _a_customer(model)
        queries = Queries(model.postgres, EventLog(model.postgres, VAULT), b"k" * 32)
        async with model.postgres.transaction() as transaction:
            await transaction.execute(LOCK)
            slow = lists(queries, STATEMENTS_AT_ONCE_MAX)
            await eventually(lambda: _are_stuck(model.postgres, STATEMENTS_AT_ONCE_MAX))
            with pytest.raises(Unavailable) as refused:
                await queries.list("default", ListRequest(display=100))
            assert refused.value.code == "overloaded"
            assert (await queries.get("default", customer_id, "USD")).version == 1
        answers = await asyncio.gather(*slow)
        assert [orjson.loads(each.body)["count"] for each in answers] == [1] * len(slow)
        again = await queries.list("default", ListRequest(display=100))
        assert orjson.loads(again.body)["count"] == 1


async def test_who_waits_for_a_position_is_bounded_and_holds_up_nobody_else(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.queries.progress.WAITERS_MAX", 2)
    async with projected(database) as model:
        customer_id = await _a_customer(model)
        queries = Queries(
            model.postgres, EventLog(model.postgres, VAULT), b"k" * 32, min_position_wait_seconds=60
        )
        far = ListRequest(min_position=1_000)
        waiting = [asyncio.create_task(queries.list("default", far)) for _ in range(3)]
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=20)
        (refused,) = done
        error = refused.exception()
        assert isinstance(error, Unavailable)
        assert error.code == "overloaded"
        assert len(pending) == 2
        shown = await queries.list("default", ListRequest(min_position=1))
        assert orjson.loads(shown.body)["count"] == 1
        assert (await queries.get("default", customer_id, "USD")).version == 1
        for each in pending:
            each.cancel()
        await asyncio.wait(pending)
        again = asyncio.create_task(queries.list("default", far))
        assert await asyncio.wait([again], timeout=0.2) == (set(), {again})
        again.cancel()


async def test_lists_that_nobody_waits_for_any_more_give_their_turns_back(database: str) -> None:
    async with projected(database) as model:
        await _a_customer(model)
        queries = Queries(model.postgres, EventLog(model.postgres, VAULT), b"k" * 32)
        async with model.postgres.transaction() as transaction:
            await transaction.execute(LOCK)
            given_up = lists(queries, 2 * STATEMENTS_AT_ONCE_MAX)
            await eventually(lambda: _are_stuck(model.postgres, STATEMENTS_AT_ONCE_MAX))
            for task in given_up:
                task.cancel()
            await asyncio.wait(given_up)
            assert all(task.cancelled() for task in given_up)
            await eventually(lambda: _are_stuck(model.postgres, 0))
        answers = await asyncio.gather(*lists(queries, 2 * STATEMENTS_AT_ONCE_MAX))
        assert [orjson.loads(each.body)["count"] for each in answers] == [1] * len(answers)


@pytest.mark.parametrize("pool_size_max", [3, 4, 10])
async def test_lists_and_gets_never_hold_the_whole_pool(database: str, pool_size_max: int) -> None:
    """Not even when all of them are stuck, and in no pool that the settings allow."""
    held = lists_at_once_max(pool_size_max) + gets_at_once_max(pool_size_max)
    async with (
        projected(database) as model,
        Postgres.connect(database, pool_size_max=pool_size_max) as small,
    ):
        customer_id = await _a_customer(model)
        queries = Queries(small, EventLog(small, VAULT), b"k" * 32, pool_size_max=pool_size_max)
        await asyncio.gather(*lists(queries, 5))
        async with model.postgres.transaction() as transaction:
            await transaction.execute(LOCK_BOTH)
            slow = lists(queries, 2 * pool_size_max)
            for _ in range(pool_size_max):
                getting = asyncio.create_task(queries.get("default", customer_id, "USD"))
                slow.append(getting)
                await asyncio.wait([getting], timeout=0)
            await eventually(lambda: _are_stuck(model.postgres, held))
            assert await small.fetch_one(int, "SELECT 1") == 1
            assert await stuck(model.postgres) == held
        await asyncio.gather(*slow)


def test_every_pool_that_the_settings_allow_has_room_for_the_rest() -> None:
    smallest = min(size for size in range(1, 1_001) if _is_allowed(size))
    for size in range(smallest, 1_001):
        assert lists_at_once_max(size) + gets_at_once_max(size) < size


def _is_allowed(pool_size_max: int) -> bool:
    try:
        Settings(database_pool_size_max=pool_size_max)
    except ValidationError:
        return False
    return True


async def _are_stuck(postgres: Postgres, number: int) -> bool:
    return await stuck(postgres) == number


async def _a_customer(model: Projected) -> str:
    creation = a_creation("jane@example.com")
    await model.appender.append(creation)
    await model.catch_up()
    return creation.customer_id
