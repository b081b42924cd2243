"""What is left of a deleted customer in the read model's tables, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from projections.applier import Applier
from projections.customers import anonymous_reference
from service.event_log import Append, EventLog, StoredEvent
from service.events import (
    CustomerCreated,
    CustomerDeleted,
    CustomerUpdated,
    Event,
    OrderRecorded,
    Position,
    Version,
)
from service.identifiers import CustomerId
from tests.support.histories import META, an_address, an_order
from tests.support.projections import Projected, as_read_later, blank, projected, shown
from tests.support.vaults import VAULT

NAME = "Unmistakable"
CREATED = CustomerCreated(
    email="unmistakable@example.com",
    first_name=NAME,
    last_name=NAME,
    phone=NAME,
    tags=("vip",),
    metadata={"note": NAME},
    addresses=(an_address("addr_1", is_default=True, city=NAME),),
)
RENAMED = CustomerUpdated.model_validate({"changes": {"firstName": NAME * 2}})
DELETED = CustomerDeleted()
TABLES = """
SELECT format('%I.%I', nspname, relname) FROM pg_class
JOIN pg_namespace AS schema ON schema.oid = relnamespace
WHERE nspname IN ('customers_v1', 'projection') AND relkind = 'r' ORDER BY 1
"""
STATISTICS = """
SELECT attname FROM pg_stats WHERE schemaname = 'customers_v1'
AND attname IN ('document', 'item', 'email', 'email_key', 'first_key', 'last_key', 'words')
ORDER BY 1
"""


def order(order_id: str, version: int, total: int) -> OrderRecorded:
    return OrderRecorded(order=an_order(order_id, version, total=total))


async def told(world: Projected, *events: Event, customer_id: str = "cust_1") -> list[StoredEvent]:
    """The events appended to one stream, as the log has them then."""
    told: list[StoredEvent] = []
    log = EventLog(world.postgres, VAULT)
    held = [each async for each in log.stream("default", CustomerId(customer_id))]
    for version, event in enumerate(events, start=len(held)):
        await world.appender.append(
            Append("default", CustomerId(customer_id), Version(version), (event,), META)
        )
        told += (await log.page(Position(0)))[-1:]  # before a deletion makes it blank
    return told


async def everything(world: Projected) -> str:
    """All rows of all tables of the read model, as text."""
    tables = await world.postgres.fetch(str, TABLES)
    assert "customers_v1.anonymous" in tables
    rows = [
        await world.postgres.fetch(str, f"SELECT held::text FROM {table} AS held")  # noqa: S608
        for table in tables
    ]
    return "\n".join(text for each in rows for text in each)


async def apply(world: Projected, *batches: Sequence[StoredEvent]) -> None:
    for batch in batches:
        await world.applier().apply(batch, [])


@pytest.mark.parametrize("cuts", [(), (1,), (2,), (3,), (4,), (1, 2, 3, 4, 5)])
async def test_orders_move_and_nothing_personal_is_left(
    database: str, cuts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Applier, "_apply_apart", None)  # which would mend a batch that is refused
    async with projected(database) as world:
        events = await told(
            world, CREATED, order("ord_1", 1, 500), RENAMED, order("ord_1", 2, 400), DELETED,
            order("ord_1", 3, 300), order("ord_2", 1, 70),
        )  # fmt: skip
        ends = [*cuts, len(events)]
        await apply(world, *(events[a:b] for a, b in zip([0, *cuts], ends, strict=True)))
        await world.assert_exact()
        reference = anonymous_reference(events[4].id)
        model = await shown(world.postgres)
        assert {key: row[2] for key, row in model.orders.items()} == {
            (reference, "ord_1"): 300,
            (reference, "ord_2"): 70,
        }
        assert NAME.lower() not in (await everything(world)).lower()
        assert world.observed.reasons == []


async def test_two_deletions_in_one_batch_keep_their_orders_apart(database: str) -> None:
    async with projected(database) as world:
        others = CREATED.model_copy(update={"email": "other@example.com"})
        first = await told(world, CREATED, order("ord_1", 1, 500), DELETED, order("ord_1", 2, 400))
        second = await told(world, others, order("ord_2", 1, 70), DELETED, customer_id="cust_2")
        await apply(world, [*first[:2], *second[:2]], [*second[2:], *first[2:]])
        await world.assert_exact()
        assert len((await shown(world.postgres)).anonymous) == 2


@pytest.mark.parametrize("first_blank", range(1, 4))
async def test_a_forgotten_customer_is_hidden_and_its_orders_wait_for_the_deletion(
    database: str, first_blank: int
) -> None:
    async with projected(database) as world:
        events = await told(world, CREATED, RENAMED, RENAMED, order("ord_1", 1, 500), DELETED)
        clear, later = (
            events[: first_blank - 1],
            [blank(each) for each in events[first_blank - 1 : 3]],
        )
        await apply(world, clear, later, events[3:4])
        model = await shown(world.postgres)
        assert NAME.lower() not in (await everything(world)).lower()
        assert (model.profiles, +model.counts, +model.days, model.tagged) == ({}, {}, {}, set())
        assert model.customers["cust_1"] == ("default", 4, 4, None, None)
        assert list(model.orders) == [("cust_1", "ord_1")]
        await apply(world, events[4:])
        await world.assert_exact()
        assert world.observed.reasons == []


async def test_a_parked_customer_leaves_with_its_deletion(database: str) -> None:
    async with projected(database) as world:
        events = await told(world, CREATED, RENAMED, DELETED)
        poison = events[1]._replace(data="{}")
        await apply(world, events[:1], [poison])
        assert NAME in await everything(world)
        await apply(world, events[2:])
        assert world.observed.reasons == ["undecodable"]
        assert NAME.lower() not in (await everything(world)).lower()


async def test_statistics_hold_no_column_that_names_a_person(database: str) -> None:
    async with projected(database) as world:
        await apply(world, await told(world, CREATED))
        await world.postgres.execute("ANALYZE")
        assert await world.postgres.fetch(str, STATISTICS) == []


async def test_a_log_read_after_the_deletion_gives_the_same_rows(database: str) -> None:
    async with projected(database) as world:
        events = await told(world, CREATED, order("ord_1", 1, 500), RENAMED, DELETED)
        await apply(world, as_read_later(events))
        await world.assert_exact()
