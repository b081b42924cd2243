"""How new a list is: never older than its request, and never said to be newer than it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

import orjson
import pytest

from service.errors import Rejected, Unavailable
from service.event_log import EventLog
from service.events import CustomerTagged
from service.identifiers import CustomerId
from service.list_request import ListRequest
from service.queries import Listed, Queries
from service.queries.list_cache import ListCache
from service.queries.list_page import ListPages, Page
from service.queries.progress import WAITERS_MAX, Mark
from tests.support.logs import a_change, a_creation
from tests.support.projections import Projected, projected, running
from tests.support.relays import is_true
from tests.support.topics import eventually
from tests.support.vaults import VAULT

KEY = b"k" * 32
TENANT = "default"
EVERYBODY = ListRequest()


@dataclass
class World:
    """A log, its read model, and the lists of one process with what they have read."""

    model: Projected
    queries: Queries
    pages_read: list[ListRequest] = field(default_factory=list)

    async def create(self, name: str) -> tuple[CustomerId, int]:
        """Into the log alone; the position."""
        creation = a_creation(f"{name}@example.com")
        await self.model.appender.append(creation)
        return creation.customer_id, await self.head()

    async def head(self) -> int:
        return (await EventLog(self.model.postgres).head()).position

    async def list(
        self, request: ListRequest = EVERYBODY, **changes: int
    ) -> tuple[dict[str, Any], int]:
        listed = await self.queries.list(TENANT, replace(request, **changes))
        return orjson.loads(listed.body), listed.position


@pytest.fixture
async def world(database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async with projected(database) as model:
        world = World(model, Queries(model.postgres, EventLog(model.postgres, VAULT), KEY))
        read = ListPages.read

        async def noted(self: ListPages, tenant: str, request: ListRequest) -> Page:
            world.pages_read.append(request)
            return await read(self, tenant, request)

        monkeypatch.setattr(ListPages, "read", noted)
        yield world


async def test_before_anything_was_projected_the_list_is_empty_at_position_zero(
    world: World,
) -> None:
    await world.create("jane")
    body, position = await world.list()
    assert (body["count"], body["models"], position) == (0, [], 0)


async def test_it_waits_until_the_read_model_shows_the_position(world: World) -> None:
    _, position = await world.create("jane")
    waiting = asyncio.create_task(world.list(min_position=position))
    for page in range(2, 12):  # which are answered meanwhile
        await world.list(page=page)
    assert not waiting.done()
    async with running(world.model.runner()):
        body, as_of = await waiting
    assert (body["count"], as_of) == (1, position)


async def test_a_position_that_does_not_come_is_projection_lag_after_the_bound(
    world: World,
) -> None:
    queries = Queries(
        world.model.postgres,
        EventLog(world.model.postgres, VAULT),
        KEY,
        min_position_wait_seconds=0.2,
    )
    started = monotonic()
    with pytest.raises(Unavailable) as lag:
        await queries.list(TENANT, replace(EVERYBODY, min_position=1))
    assert lag.value.code == "projection_lag"
    assert 0.2 <= monotonic() - started < 1.9


async def test_many_who_wait_share_their_looks(world: World) -> None:
    _, position = await world.create("jane")
    waiting = [asyncio.create_task(world.list(min_position=position)) for _ in range(WAITERS_MAX)]
    async with running(world.model.runner()):
        answers = await asyncio.gather(*waiting)
    assert [body["count"] for body, _ in answers] == [1] * WAITERS_MAX
    assert len(world.pages_read) < 10


async def test_a_position_that_is_reached_costs_no_wait(world: World) -> None:
    _, position = await world.create("jane")
    await world.model.catch_up()
    no_wait = Queries(
        world.model.postgres,
        EventLog(world.model.postgres, VAULT),
        KEY,
        min_position_wait_seconds=0.5,
    )
    for min_position in (position, position, 0):
        listed = await no_wait.list(TENANT, replace(EVERYBODY, min_position=min_position))
        assert orjson.loads(listed.body)["count"] == 1
        assert listed.position == position


async def test_a_bad_cursor_is_refused_with_a_position_too(world: World) -> None:
    with pytest.raises(Rejected):
        await world.queries.list(TENANT, replace(EVERYBODY, cursor="nonsense", min_position=0))


async def test_a_list_is_read_once_while_nothing_changes(world: World) -> None:
    await world.create("jane")
    await world.model.catch_up()
    first = await world.list()
    assert await world.list() == first
    assert await asyncio.gather(*(world.list() for _ in range(20))) == [first] * 20
    assert len(world.pages_read) == 1
    await world.list(display=5)
    assert len(world.pages_read) == 2


async def test_a_list_from_memory_is_never_older_than_the_request(world: World) -> None:
    async with running(world.model.runner()):
        for number in range(1, 11):
            customer_id, position = await world.create(f"jane{number}")
            body, as_of = await world.list(min_position=position)
            assert (body["count"], as_of >= position) == (number, True)
            assert (await world.list())[0] == body
            await world.model.appender.append(
                a_change(customer_id, 1, CustomerTagged(tags=("vip",)))
            )
            await eventually(world.model.is_up_to_date)
            body, _ = await world.list()
            assert body["models"][0]["tags"] == ["vip"]


async def test_what_is_said_to_be_shown_is_shown(world: World) -> None:
    """Every customer at or below the position is there, whenever one asks."""
    places: dict[str, int] = {}
    met: set[int] = set()

    async def write() -> None:
        for number in range(60):
            customer_id, position = await world.create(f"jane{number}")
            places[customer_id] = position

    async with running(world.model.runner(batch_events_max=1)):
        writing = asyncio.create_task(write())
        while not writing.done() or len(met) < 5:
            body, as_of = await world.list(display=100)
            met.add(as_of)
            shown = {model["id"] for model in body["models"]}
            assert {each for each, position in places.items() if position <= as_of} <= shown
            assert body["count"] == len(shown) == as_of
        await writing


async def test_a_read_model_that_was_put_back_is_waited_for_again(world: World) -> None:
    """What was seen once need no longer be so: an older version may be shown again."""
    _, position = await world.create("jane")
    await world.model.catch_up()
    await world.list(min_position=position)
    await world.model.postgres.execute("UPDATE projection.checkpoint SET position = 0")
    queries = world.queries
    queries._lists._min_position_wait_seconds = 0.1
    with pytest.raises(Unavailable) as lag:
        await world.list(min_position=position)
    assert lag.value.code == "projection_lag"
    await world.model.postgres.execute("UPDATE projection.checkpoint SET position = $1", position)
    assert (await world.list(min_position=position))[1] == position


async def test_counts_from_before_are_answered_only_at_their_mark(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every count is held to be dear here; the second page asks for the same one again."""
    monkeypatch.setattr("service.queries.known_counts.DEAR_SECONDS", 0.0)
    spent = ListRequest(display=1, min_spent=0)
    for number in range(1, 5):
        await world.create(f"jane{number}")
        await world.model.catch_up()
        for page in (1, 2, 1):
            assert (await world.list(spent, page=page))[0]["count"] == number


MARK = Mark(5, 30, 1, 6)


def kept(cache: ListCache[str], mark: Mark) -> Mapping[str, Listed | None]:
    return {key: cache.get(key, mark) for key in ("a", "b")}


async def test_the_memory_holds_lists_of_one_mark() -> None:
    cache: ListCache[str] = ListCache()
    old, new = Listed(b"old", 5), Listed(b"new", 5)
    cache.put("a", MARK, old)
    later = MARK._replace(positions_total=31)
    assert kept(cache, MARK) == {"a": old, "b": None}
    assert kept(cache, later) == {"a": None, "b": None}
    cache.put("b", later, new)
    assert kept(cache, later) == {"a": None, "b": new}
    cache.put("a", MARK, old)  # of a statement that took long
    assert kept(cache, later) == {"a": None, "b": new}
    rebuilt = MARK._replace(version=2, positions_total=1)
    cache.put("a", rebuilt, old)
    assert kept(cache, rebuilt) == {"a": old, "b": None}
    cache.forget()


async def test_the_memory_is_bounded_in_bytes_and_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.queries.list_cache.KEPT_SECONDS_MAX", 0.05)
    cache: ListCache[str] = ListCache(bytes_max=10)
    cache.put("a", MARK, Listed(b"12345", 5))
    cache.put("a", MARK, Listed(b"123456", 5))
    assert "a" in cache
    cache.put("b", MARK, Listed(b"12345", 5))
    assert ("a" in cache, "b" in cache) == (False, False)
    cache.put("a", MARK, Listed(b"1234567890", 5))
    assert "a" in cache
    await eventually(lambda: is_true("a" not in cache), 2)
