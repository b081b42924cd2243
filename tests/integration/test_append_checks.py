"""What the functions that append refuse, whoever calls them: nothing of it is written."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, get_args

import asyncpg
import pytest

from service.appender.columns import columns
from service.appender.queue import member_of
from service.event_log import SQL, Append
from service.events import CustomerTagged, OrderRecorded, OrderStatus
from service.idempotency_expiry import KEPT_SECONDS
from service.identifiers import CustomerId
from service.migrations import migrate
from service.order_intake import OrderMessage, recorder
from service.order_intake.message import AMOUNT_MAX, VERSION_MAX
from service.postgres import Postgres
from tests.support.histories import an_order
from tests.support.logs import a_change, a_creation, appending
from tests.support.orders import a_message, add_tenant
from tests.support.projections import recorded_events
from tests.support.users import users_of
from tests.support.vaults import VAULT
from tests.support.walls import API, INTAKE

# Places in the arguments of log.append.
CUSTOMER, COUNT, CLOSES, META, MEMBER, PLACE, ID, TYPE = 1, 3, 4, 11, 14, 15, 16, 17
Arguments: TypeAlias = list[object]
RECORD = recorder.SQL["record_orders"]
WHOLE: Mapping[str, object] = json.loads(a_message("ord_1", 1, "cust_1").data)["order"]


@dataclass
class World:
    owner: Postgres
    urls: Mapping[str, str]
    customers: list[CustomerId] = field(default_factory=list)

    async def call(self, role: str, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """As the user of a role, or as the owner."""
        connection = await asyncpg.connect(self.urls[role])
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    async def refused(self, role: str, statement: str, arguments: Arguments) -> str | None:
        """The constraint that refuses it."""
        try:
            await self.call(role, statement, *arguments)
        except asyncpg.IntegrityConstraintViolationError as error:
            return error.constraint_name
        return None

    def changes(self) -> list[Append]:
        """Two events of one customer, none of the second, one of the third."""
        one, two, three = self.customers
        first, second = CustomerTagged(tags=("a",)), CustomerTagged(tags=("b",))
        return [a_change(one, 1, first, second), a_change(two, 1), a_change(three, 1, first)]

    async def trace(self) -> list[object]:
        """Whatever an append changes."""
        rows = await self.owner.fetch(
            lambda *row: row,
            "SELECT (SELECT position FROM log.head), (SELECT count(*) FROM log.event),"
            " (SELECT sum(version) FROM log.stream), (SELECT count(*) FROM log.accepted_order)",
        )
        return list(rows[0])


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    await migrate(database)  # what is granted on a database itself is not copied with it
    async with Postgres.connect(database) as owner, users_of(database) as urls:
        await add_tenant(owner, "default")
        world = World(owner, {**urls, "owner": database})
        async with appending(owner) as appender:
            for number in range(3):
                creation = a_creation(f"c{number}@example.com")
                await appender.append(creation)
                world.customers.append(creation.customer_id)
        yield world


async def arguments_of(*appends: Append) -> Arguments:
    return [*columns([member_of(append, None) for append in appends], VAULT)]


INCONSISTENT: Mapping[str, Mapping[int, object]] = {
    "a count below the events": {COUNT: [1, 0, 1]},
    "a count above the events": {COUNT: [2, 0, 2]},
    "counts of other members": {COUNT: [1, 1, 1]},
    "a count below zero": {COUNT: [3, -1, 1]},
    "a count that would fill the memory": {COUNT: [2_147_483_647, 0, 1]},
    "a stream that closes without an event": {CLOSES: [False, True, False]},
    "no count": {COUNT: [2, None, 1]},
    "an event of no member": {MEMBER: [1, 1, 4]},
    "an event of member 0": {MEMBER: [0, 1, 3]},
    "no member": {MEMBER: [1, 1, None]},
    "an event that is another's": {MEMBER: [1, 3, 3]},
    "a place beyond the count": {PLACE: [1, 3, 1]},
    "a place twice": {PLACE: [1, 1, 1]},
    "place 0": {PLACE: [0, 1, 1]},
    "no place": {PLACE: [1, 2, None]},
    "an event without an id": {ID: []},
    "too few types": {TYPE: ["customer.tagged", "customer.tagged"]},
    "too few customers": {CUSTOMER: ["cust_1"]},
    "too much meta": {META: ["{}"] * 4},
    "no meta": {META: None},
    "customers in a table": {CUSTOMER: [["cust_1", "cust_2", "cust_3"]]},
    "no events": {place: [] for place in range(MEMBER, MEMBER + 7)},
}


@pytest.mark.parametrize("role", [API, "owner"])
async def test_events_that_are_not_those_of_their_members_are_refused_whole(
    role: str, world: World
) -> None:
    consistent = await arguments_of(*world.changes())
    before = await world.trace()
    for name, wrong in INCONSISTENT.items():
        arguments = [wrong.get(place, value) for place, value in enumerate(consistent)]
        assert await world.refused(role, SQL["append"], arguments) == "append_is_consistent", name
    assert await world.trace() == before


async def test_an_array_that_begins_elsewhere_is_refused(world: World) -> None:
    """By number, its third customer would be the second."""
    arguments = await arguments_of(*world.changes())
    shifted = SQL["append"].replace("$2", "('[0:2]=' || $2::text[]::text)::text[]", 1)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="not those of the members"):
        await world.call(API, shifted, *arguments)


async def test_what_is_consistent_is_appended_without_a_hole(world: World) -> None:
    rows = await world.call(API, SQL["append"], *await arguments_of(*world.changes()))
    assert [(row["outcome"], row["version"]) for row in rows] == [
        ("appended", 3), ("appended", 1), ("appended", 2)
    ]  # fmt: skip
    events = await recorded_events(world.owner)
    assert [event.position for event in events] == [1, 2, 3, 4, 5, 6]
    nothing = await arguments_of(a_change(world.customers[0], 3))
    assert (await world.call(API, SQL["append"], *nothing))[0]["outcome"] == "appended"


async def test_the_api_records_no_orders(world: World) -> None:
    order = OrderRecorded(order=an_order("ord_1", 1, total=500))
    tagged = a_change(world.customers[1], 1, CustomerTagged(tags=("a",)))
    arguments = await arguments_of(a_change(world.customers[0], 1, order), tagged)
    before = await world.trace()
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="order_recorded"):
        await world.call(API, SQL["append"], *arguments)
    assert await world.trace() == before
    await world.call("owner", SQL["append"], *arguments)


async def test_the_api_forgets_no_idempotency_key_before_its_time(world: World) -> None:
    statement = "SELECT log.forget_old_keys($1, 10)"
    for seconds in (0.0, -1.0, KEPT_SECONDS - 1, None):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="before their time"):
            await world.call(API, statement, seconds)
    await world.call(API, statement, KEPT_SECONDS)
    await world.call("owner", statement, 0.0)


def _data(**fields: object) -> str:
    """A field given as ... is left out."""
    changed = {**WHOLE, **fields}
    return json.dumps({"order": {key: value for key, value in changed.items() if value is not ...}})


NO_ORDERS = {
    "an array": "[]",
    "nothing": "{}",
    "null": "null",
    "order is null": '{"order":null}',
    "order is an array": '{"order":[]}',
    "order is a text": '{"order":"ord_1"}',
    "more beside it": _data()[:-1] + ',"more":1}',
    "a field more": _data(more=1),
    **{f"no {name}": _data(**{name: ...}) for name in WHOLE},
    "another order": _data(orderId="ord_2"),
    "another version": _data(orderVersion=2),
    "id is a number": _data(orderId=1),
    "version is a text": _data(orderVersion="1"),
    "unknown status": _data(status="lost"),
    "status is null": _data(status=None),
    "currency is a number": _data(currency=840),
    "total is a text": _data(total="1000"),
    "total has a fraction": _data(total=10.5),
    "total is below zero": _data(total=-1),
    "total has no bounds": _data(total=10**30),
    "total is null": _data(total=None),
    "captured is a text": _data(captured="1"),
    "captured is an array": _data(captured=[1]),
    "refunded has a fraction": _data(refunded=0.1),
    "test is a text": _data(test="no"),
    "test is null": _data(test=None),
    "placed at no time": _data(placedAt="yesterday"),
    "placed at a number": _data(placedAt=0),
    "placed without a zone": _data(placedAt="2024-03-10T08:00:00.000"),
    "placed at hour 24": _data(placedAt="2024-03-10T24:00:00.000Z"),
    "placed at minute 60": _data(placedAt="2024-03-10T08:60:00.000Z"),
    "placed at second 60": _data(placedAt="2024-03-10T08:00:60.000Z"),
}


async def test_the_intake_records_nothing_that_is_no_order(world: World) -> None:
    jane = world.customers[0]
    orders = [a_message(f"ord_{number}", 1, jane) for number in range(2)]
    before = await world.trace()
    for name, data in NO_ORDERS.items():
        arguments = [*recorder._columns([orders[0], orders[1]._replace(data=data)])]
        assert await world.refused(INTAKE, RECORD, arguments) == "order_is_whole", name
    assert await world.trace() == before
    assert await world.refused(INTAKE, RECORD, [*recorder._columns(orders)]) is None


async def test_the_intake_records_no_order_of_a_day_that_there_is_not(world: World) -> None:
    order = a_message("ord_1", 1, world.customers[0])
    for time in ("2024-02-30T08:00:00.000Z", "0000-01-01T08:00:00.000Z"):
        arguments = recorder._columns([order._replace(data=_data(placedAt=time))])
        with pytest.raises(asyncpg.DataError):
            await world.call(INTAKE, RECORD, *arguments)


TRACED = ',"requestId":"orders/0/7","traceparent":"00-' + "a" * 32 + "-" + "b" * 16 + '-01"}'
METAS = {
    "nothing": "{}",
    "no request": '{"actor":{"type":"system","id":"intake"}}',
    "another's name": '{"actor":{"type":"token","id":"tok_1"},"requestId":"r"}',
    "an actor twice": '{"actor":{"type":"system","id":"intake"},"requestId":"r","actor":"x"}',
    "a field more": '{"actor":{"type":"system","id":"intake"},"requestId":"r","more":"x"}',
    "a field more, unquoted": '{"actor":{"type":"system","id":"intake"},"requestId":"r","x":1}',
    "a field more within": '{"actor":{"type":"system","id":"intake"},"requestId":"r\\"","x":"x"}',
    "a traceparent twice": '{"actor":{"type":"system","id":"intake"},"requestId":"r",'
    '"traceparent":"x","traceparent":"x"}',
}


async def test_the_intake_records_in_no_other_name(world: World) -> None:
    order = a_message("ord_1", 1, world.customers[0])
    for name, meta in METAS.items():
        arguments = [*recorder._columns([order._replace(meta=meta)])]
        assert await world.refused(INTAKE, RECORD, arguments) == "order_is_whole", name


async def test_arrays_of_orders_of_different_lengths_are_refused(world: World) -> None:
    arguments = [*recorder._columns([a_message("ord_1", 1, world.customers[0])])]
    for place in (0, 1, 2, 6, 7):
        longer = [*arguments]
        longer[place] = f"{longer[place]}\n{longer[place]}"
        assert await world.refused(INTAKE, RECORD, longer) == "order_is_whole", place


async def test_every_order_that_the_intake_takes_in_is_recorded(world: World) -> None:
    jane = world.customers[0]
    orders: list[OrderMessage] = [
        a_message(f"ord_{status}", 1, jane, status=status) for status in get_args(OrderStatus)
    ]
    orders += [
        a_message(
            'say "ä\\b" /', VERSION_MAX, jane, total=0, captured=AMOUNT_MAX, refunded=0, test=True
        ),
        a_message("ord_1", 1, jane, placedAt="0001-01-01T00:00:00.001Z"),
        a_message("ord_2", 1, jane, placedAt="9999-12-31T23:59:59.999999Z"),
        a_message("5", 1, jane, placedAt="2024-02-29T23:59:59+23:59", currency="XXX"),
        a_message("ord_3", 1, jane)._replace(meta=METAS["no request"][:-1] + TRACED),
    ]
    assert set(await recorder.Recorder(world.owner).record(orders)) == {"recorded"}
    assert len(await recorded_events(world.owner)) == 3 + len(orders)
