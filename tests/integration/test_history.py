"""Histories and exports against an independent fold: the projection's, which shares no code."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import NamedTuple

import orjson
import pytest
from typing_extensions import override

from projections.customers import Incoming, Present, fold
from projections.rows import Rows
from service.errors import NotFound, Unavailable
from service.event_log import EventLog
from service.events import (
    NO_VERSION,
    CustomerDeleted,
    CustomerTagged,
    OrderRecorded,
    RecordedEvent,
    Version,
)
from service.identifiers import CustomerId
from service.queries import Queries
from service.queries.changes import LEFT_OUT
from service.queries.export import CHUNK_BYTES, EXPORTS_PER_TENANT_MAX
from service.snapshots import Snapshot
from tests.support.histories import an_order
from tests.support.logs import a_change, a_creation
from tests.support.projections import (
    CURRENCIES,
    Projected,
    a_history,
    append_history,
    projected,
)
from tests.support.vaults import VAULT

KEY = b"k" * 32
NOW = datetime(2024, 6, 15, 14, 22, tzinfo=UTC)
NEVER_A_CHANGE = {"id", "version", "createdAt", "updatedAt"}

Json = dict[str, object]


class Asked(NamedTuple):
    after: int = 0
    display: int = 100
    cursor: str | None = None


@dataclass
class World:
    """A log and what reads it."""

    model: Projected
    log: EventLog
    queries: Queries

    async def create(self, email: str = "jane@example.com") -> CustomerId:
        creation = a_creation(email)
        await self.model.appender.append(creation)
        return creation.customer_id

    async def record(self, customer_id: CustomerId, version: int, orders: int) -> None:
        """That many orders more, each of them one version more."""
        events = [
            OrderRecorded(order=an_order(f"ord_{number}", 1, total=number))
            for number in range(version, version + orders)
        ]
        await self.model.appender.append(a_change(customer_id, version, *events))

    async def events(self, customer_id: str, tenant: str, display: int) -> list[Json]:
        """The whole history, page by page."""
        found: list[Json] = []
        asked = Asked(display=display)
        while True:
            currency = CURRENCIES[tenant]
            page = await self.queries.events(tenant, CustomerId(customer_id), currency, asked)
            body = orjson.loads(page.body)
            found += body["events"]
            assert body["count"] == page.version
            if body["nextCursor"] is None:
                return found
            assert len(body["events"]) == display
            asked = Asked(display=display, cursor=body["nextCursor"])

    async def then(self, event: RecordedEvent, *, at: bool) -> Json:
        found = await self.queries.get_then(
            event.tenant,
            event.customer_id,
            CURRENCIES[event.tenant],
            at=event.time if at else None,
            version=None if at else event.version,
        )
        return orjson.loads(found.document)


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with projected(database) as model:
        log = EventLog(model.postgres, VAULT)
        yield World(model, log, Queries(model.postgres, log, KEY))


def independent(events: Sequence[RecordedEvent]) -> Json | None:
    """What the projection shows after these events, the first of a stream; None: deleted."""
    incoming = [Incoming(*(getattr(each, name) for name in Incoming._fields)) for each in events]
    rows = Rows()
    nothing = Present(0, False, None, CURRENCIES[events[0].tenant], {}, has_all_orders=True)
    rows.add(fold(incoming, nothing))
    document = rows.customers[0].document
    return None if document is None else orjson.loads(document)


async def test_every_event_leads_from_one_state_to_the_next(world: World) -> None:
    history = a_history(Random(11), steps=400, customers=24)
    await append_history(world.model.appender, history)
    living = 0
    for customer_id, tenant in sorted({(each.customer_id, each.tenant) for each in history}):
        stream = [each async for each in world.log.stream(tenant, customer_id)]
        if independent(stream) is None:
            continue  # deleted
        living += 1
        told = await world.events(customer_id, tenant, 7)
        assert [each["position"] for each in told] == [each.position for each in stream]
        shown: Json = {}
        for number, (event, each) in enumerate(zip(stream, told, strict=True), start=1):
            state = independent(stream[:number])
            assert state is not None
            _follow(shown, each["changes"])
            visible = {name: state[name] for name in state.keys() - NEVER_A_CHANGE}
            assert {name: shown.get(name) for name in visible} == visible
            assert await world.then(event, at=False) == state
            together = [other for other in stream if other.time <= event.time]
            assert await world.then(event, at=True) == independent(together)
    assert living > 3


def _follow(shown: Json, changes: dict[str, Json]) -> None:
    for name, change in changes.items():
        assert change["from"] == shown.get(name)
        assert orjson.dumps(change["from"]) != orjson.dumps(change["to"])
        shown[name] = change["to"]


def test_what_is_left_out_is_the_same_in_both_spellings() -> None:
    assert {name.replace("_at", "At") for name in LEFT_OUT} == NEVER_A_CHANGE


@pytest.mark.parametrize("is_shown", [True, False], ids=["rows", "log"])
async def test_an_export_is_of_the_moment_when_it_began(world: World, is_shown: bool) -> None:
    customer_id = await world.create()
    await world.record(customer_id, 1, orders=400)
    if is_shown:
        await world.model.catch_up()
    before = await world.queries.get("default", customer_id, "USD")
    async with world.queries.export("default", customer_id, "USD", NOW) as export:
        chunks = [await anext(export.chunks)]
        await world.record(customer_id, 401, orders=3)
        await world.model.appender.append(
            a_change(customer_id, 404, CustomerTagged(tags=("late",)))
        )
        await world.model.catch_up()
        chunks += [chunk async for chunk in export.chunks]
    assert len(chunks) > 2
    assert max(map(len, chunks)) < 2 * CHUNK_BYTES
    document = orjson.loads(b"".join(chunks))
    assert list(document) == ["exportedAt", "asOfPosition", "customer", "events", "orders"]
    assert document["exportedAt"] == "2024-06-15T14:22:00.000Z"
    assert (export.version, export.position) == (401, document["asOfPosition"])
    assert document["asOfPosition"] == document["events"][-1]["position"] == before.position
    assert document["customer"] == orjson.loads(before.document)
    assert [each["version"] for each in document["events"]] == list(range(1, 402))
    assert {each["orderId"] for each in document["orders"]} == {f"ord_{n}" for n in range(1, 401)}


async def test_an_export_of_who_is_deleted_meanwhile_is_never_finished(world: World) -> None:
    customer_id = await world.create()
    await world.record(customer_id, 1, orders=400)
    async with world.queries.export("default", customer_id, "USD", NOW) as export:
        await anext(export.chunks)
        deletion = a_change(customer_id, 401, CustomerDeleted())
        await world.model.appender.append(deletion._replace(closes_stream=True))
        with pytest.raises(NotFound, match="customer_deleted"):
            assert [chunk async for chunk in export.chunks]


class Overtaken(EventLog):
    """A log whose customer is deleted while its history is being read."""

    def __init__(self, model: Projected) -> None:
        super().__init__(model.postgres, VAULT)
        self._model = model

    @override
    async def folding(
        self, tenant: str, customer_id: CustomerId, *, after: Version = NO_VERSION
    ) -> AsyncIterator[Snapshot | RecordedEvent]:
        deletion = a_change(customer_id, 1, CustomerDeleted())
        await self._model.appender.append(deletion._replace(closes_stream=True))
        async for event in super().folding(tenant, customer_id, after=after):
            yield event


async def test_a_history_is_not_told_of_who_is_deleted_meanwhile(world: World) -> None:
    queries = Queries(world.model.postgres, Overtaken(world.model), KEY)
    asked = "default", await world.create(), "USD"
    with pytest.raises(NotFound, match="customer_deleted"):
        await queries.events(*asked, Asked())


@pytest.mark.parametrize(("at", "version"), [(None, 1), (datetime(2100, 1, 1, tzinfo=UTC), None)])
async def test_nobody_is_shown_as_it_was_who_is_deleted_meanwhile(
    world: World, at: datetime | None, version: int | None
) -> None:
    queries = Queries(world.model.postgres, Overtaken(world.model), KEY)
    asked = "default", await world.create(), "USD"
    with pytest.raises(NotFound, match="customer_deleted"):
        await queries.get_then(*asked, at=at, version=version)


async def test_so_many_exports_at_once_and_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer_id = await world.create()

    async def nobody_is_exported() -> None:
        with pytest.raises(NotFound):
            async with world.queries.export("other", customer_id, "USD", NOW):
                raise AssertionError("this is nobody")

    async def exported(deep: int) -> None:
        async with world.queries.export("default", customer_id, "USD", NOW) as export:
            if deep:
                await exported(deep - 1)
            else:
                await nobody_is_exported()  # another tenant's are let in
            assert orjson.loads(b"".join([each async for each in export.chunks]))

    await exported(EXPORTS_PER_TENANT_MAX - 1)
    with pytest.raises(Unavailable, match="Too many exports"):
        await exported(EXPORTS_PER_TENANT_MAX)
    await exported(EXPORTS_PER_TENANT_MAX - 1)  # those that failed hold no place
    monkeypatch.setattr("service.queries.export.EXPORTS_AT_ONCE_MAX", EXPORTS_PER_TENANT_MAX)
    with pytest.raises(Unavailable, match="Too many exports"):
        await exported(EXPORTS_PER_TENANT_MAX - 1)
