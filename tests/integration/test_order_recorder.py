"""Orders into the log on a real PostgreSQL: each message judged alone, whatever is in its batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import pytest

from service.appender import Appender
from service.errors import Conflict, Corrupt
from service.event_log import Append, EventLog
from service.events import (
    CustomerDeleted,
    CustomerTagged,
    OrderRecorded,
    Position,
    RecordedEvent,
    Version,
)
from service.identifiers import CustomerId
from service.order_intake import OrderMessage, Recorder
from service.postgres import Postgres
from tests.support.histories import META
from tests.support.logs import a_change, a_creation, appending
from tests.support.orders import a_message, add_tenant
from tests.support.projections import Projected, recorded_events
from tests.support.vaults import VAULT


@pytest.fixture
async def postgres(database: str) -> AsyncIterator[Postgres]:
    async with Postgres.connect(database) as postgres:
        await add_tenant(postgres, "default")
        await add_tenant(postgres, "other", "EUR")
        yield postgres


@pytest.fixture
async def appender(postgres: Postgres) -> AsyncIterator[Appender]:
    async with appending(postgres) as appender:
        yield appender


@pytest.fixture
async def jane(appender: Appender) -> CustomerId:
    return await a_customer(appender, "jane@example.com")


async def a_customer(appender: Appender, email: str, tenant: str = "default") -> CustomerId:
    creation = a_creation(email, tenant=tenant)
    await appender.append(creation)
    return creation.customer_id


async def orders_of(postgres: Postgres) -> list[tuple[str, int, str, int]]:
    """Of the log: order, its version, customer, the stream's version."""
    found: list[tuple[str, int, str, int]] = []
    for each in await recorded_events(postgres):
        if isinstance(each.event, OrderRecorded):
            order = each.event.order
            found.append((order.order_id, order.order_version, each.customer_id, each.version))
    return found


def assert_whole(events: Sequence[RecordedEvent]) -> None:
    """Positions without a hole, and each stream's versions too."""
    assert [event.position for event in events] == list(range(1, len(events) + 1))
    versions: dict[str, int] = {}
    for event in events:
        assert event.version == versions.get(event.customer_id, 0) + 1
        versions[event.customer_id] = event.version


async def test_a_recorded_order_is_an_event_of_its_customer(
    postgres: Postgres, jane: CustomerId
) -> None:
    message = a_message("ord_1", 3, jane, total=4_500)
    assert await Recorder(postgres).record([message]) == ["recorded"]
    (_, event) = await recorded_events(postgres)
    assert (event.position, event.version, event.customer_id) == (2, 2, jane)
    assert (event.tenant, event.meta.actor.id) == ("default", "intake")
    assert isinstance(event.event, OrderRecorded)
    assert (event.event.order.order_id, event.event.order.total) == ("ord_1", 4_500)
    head, _ = await EventLog(postgres).stream_and_key("default", jane, None)
    assert head is not None
    assert (head.version, head.position) == (2, 2)


async def test_every_outcome_in_one_batch(
    postgres: Postgres, appender: Appender, jane: CustomerId
) -> None:
    john = await a_customer(appender, "john@example.com")
    foreign = await a_customer(appender, "jane@example.com", "other")
    recorder = Recorder(postgres)
    first = [a_message(name, 5, jane) for name in ("older", "repeated", "reused", "changed", "new")]
    assert set(await recorder.record(first)) == {"recorded"}
    batch = {
        "older": a_message("older", 4, jane, total=1),
        "repeated": a_message("repeated", 5, jane),
        "version_reused": a_message("reused", 5, jane, total=1),
        "customer_changed": a_message("changed", 6, john),
        "unknown_customer": a_message("a", 1, "cust_nobody"),
        "unknown_tenant": a_message("b", 1, jane, tenant="nobody"),
        "recorded": a_message("new", 6, jane),
    }
    assert await recorder.record([*batch.values()]) == [*batch]
    assert await recorder.record([a_message("c", 1, foreign)]) == ["unknown_customer"]
    assert await recorder.record([a_message("new", 1, foreign, tenant="other")]) == ["recorded"]
    assert_whole(await recorded_events(postgres))


async def test_messages_about_one_order_are_judged_in_their_order(
    postgres: Postgres, jane: CustomerId
) -> None:
    batch = [
        a_message("ord_1", 2, jane),
        a_message("ord_1", 1, jane),
        a_message("ord_1", 2, jane),
        a_message("ord_1", 2, jane, total=7),
        a_message("ord_2", 1, jane),
        a_message("ord_1", 3, jane),
    ]
    assert await Recorder(postgres).record(batch) == [
        "recorded", "older", "repeated", "version_reused", "recorded", "recorded"
    ]  # fmt: skip
    assert await orders_of(postgres) == [
        ("ord_1", 2, jane, 2), ("ord_2", 1, jane, 3), ("ord_1", 3, jane, 4)
    ]  # fmt: skip


async def test_a_second_message_about_an_order_costs_one_more_call(
    postgres: Postgres, jane: CustomerId, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    call = Recorder._call

    async def counting(self: Recorder, messages: Sequence[OrderMessage]) -> object:
        calls.append(len(messages))
        return await call(self, messages)

    monkeypatch.setattr(Recorder, "_call", counting)
    batch = [a_message(f"ord_{number % 50}", 1 + number // 50, jane) for number in range(100)]
    assert set(await Recorder(postgres).record(batch)) == {"recorded"}
    assert calls == [50, 50]


async def test_several_orders_of_several_customers_leave_no_hole(
    postgres: Postgres, appender: Appender
) -> None:
    customers = [await a_customer(appender, f"c{number}@example.com") for number in range(5)]
    batch = [a_message(f"ord_{n}", 1, customers[n * 7 % 5]) for n in range(200)]
    batch[50] = a_message("ord_50", 1, "cust_nobody")
    outcomes = await Recorder(postgres).record(batch)
    assert [n for n, outcome in enumerate(outcomes) if outcome != "recorded"] == [50]
    events = await recorded_events(postgres)
    assert_whole(events)
    assert len(events) == 204
    places = [order for order, _, _, _ in await orders_of(postgres)]
    assert places == [f"ord_{n}" for n in range(200) if n != 50]


async def test_nothing_is_written_where_nothing_is_recorded(
    postgres: Postgres, jane: CustomerId
) -> None:
    recorder = Recorder(postgres)
    await recorder.record([a_message("ord_1", 2, jane)])
    before = await EventLog(postgres).head()
    refused = [a_message("ord_1", 1, jane), a_message("ord_2", 1, "cust_nobody")]
    assert await recorder.record(refused) == ["older", "unknown_customer"]
    assert await recorder.record([]) == []
    assert await EventLog(postgres).head() == before


async def test_a_deleted_customer_still_takes_orders(
    postgres: Postgres, appender: Appender, jane: CustomerId
) -> None:
    recorder = Recorder(postgres)
    await recorder.record([a_message("ord_1", 1, jane)])
    await appender.append(
        Append("default", jane, Version(2), (CustomerDeleted(),), META, closes_stream=True)
    )
    late = [a_message("ord_1", 2, jane, refunded=100), a_message("ord_2", 1, jane)]
    assert await recorder.record(late) == ["recorded", "recorded"]
    head, _ = await EventLog(postgres).stream_and_key("default", jane, None)
    assert head is not None
    assert (head.version, head.is_closed) == (5, True)
    projected = Projected(postgres, appender)
    await projected.catch_up()
    await projected.assert_exact()
    assert projected.observed.reasons == []


async def test_orders_and_commands_share_the_log(
    postgres: Postgres, database: str, appender: Appender
) -> None:
    customers = [await a_customer(appender, f"c{number}@example.com") for number in range(10)]

    async def take_in(name: str) -> None:
        async with Postgres.connect(database) as other:
            for number in range(10):
                batch = [a_message(f"{name}{number}_{n}", 1, customers[n % 10]) for n in range(50)]
                assert set(await Recorder(other).record(batch)) == {"recorded"}

    async def change(customer_id: CustomerId) -> int:
        written = 0
        for number in range(20):
            head, _ = await EventLog(postgres).stream_and_key("default", customer_id, None)
            assert head is not None
            event = CustomerTagged(tags=(f"t{number}",))
            with suppress(Conflict):  # an order came in between
                await appender.append(a_change(customer_id, head.version, event))
                written += 1
        return written

    *_, first, second = await asyncio.gather(
        take_in("a"), take_in("b"), change(customers[0]), change(customers[1])
    )
    events = await recorded_events(postgres)
    assert_whole(events)
    assert len(events) == 10 + 2 * 10 * 50 + first + second
    assert first > 0


def refused_by_the_database(message: OrderMessage) -> OrderMessage:
    """JSON that PostgreSQL does not take; no message leads to it, as far as we know."""
    return message._replace(data=message.data.replace("ord_", "\\u0000"))


async def test_a_batch_that_is_refused_is_judged_in_its_order(
    postgres: Postgres, jane: CustomerId
) -> None:
    batch = [a_message("ord_1", version, jane) for version in (1, 2, 3)]
    batch.insert(2, refused_by_the_database(a_message("ord_2", 1, jane)))
    outcomes = await Recorder(postgres).record(batch)
    assert outcomes == ["recorded", "recorded", "refused", "recorded"]


async def test_what_the_database_refuses_harms_no_other_message(
    postgres: Postgres, jane: CustomerId
) -> None:
    batch = [a_message(f"ord_{number}", 1, jane) for number in range(20)]
    batch[3], batch[11] = map(refused_by_the_database, (batch[3], batch[11]))
    outcomes = await Recorder(postgres).record(batch)
    assert [n for n, outcome in enumerate(outcomes) if outcome != "recorded"] == [3, 11]
    assert (outcomes[3], outcomes[11]) == ("refused", "refused")
    assert_whole(await recorded_events(postgres))


async def test_a_log_that_takes_no_orders_blames_no_message(
    postgres: Postgres, jane: CustomerId
) -> None:
    await postgres.execute("DELETE FROM log.head")
    with pytest.raises(Corrupt):
        await Recorder(postgres).record([a_message("ord_1", 1, jane)])


async def test_the_log_is_read_on_from_before(postgres: Postgres, jane: CustomerId) -> None:
    """The rule of times: never back, whoever writes."""
    await Recorder(postgres).record([a_message("ord_1", 1, jane)])
    await postgres.execute("UPDATE log.head SET recorded_at = now() + interval '1 hour'")
    await Recorder(postgres).record([a_message("ord_1", 2, jane)])
    _, first, second = await EventLog(postgres, VAULT).page(Position(0))
    assert (second.time - first.time).total_seconds() > 3_000
