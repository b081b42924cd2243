"""However the messages of a shop arrive, customers show what the last version of each order says.

Invariant: the expectation is worked out from what the shop has sent, after the table in
docs/guarantees.md, "Roll-ups", without the code under test.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from service.appender import Appender
from service.customer import fold
from service.event_log import EventLog
from service.identifiers import CustomerId
from service.order_intake import OrderMessage, Recorder, read_message
from service.order_intake.message import AMOUNT_MAX
from service.postgres import Postgres
from tests.servers.databases import Databases
from tests.support.logs import a_creation, appending
from tests.support.orders import a_record, add_tenant
from tests.support.vaults import VAULT

CUSTOMERS = 2
STATUSES = ("pending", "placed", "paid", "completed", "cancelled", "failed")
AMOUNTS = st.integers(0, AMOUNT_MAX)


@st.composite
def shops(draw: st.DrawFn) -> list[dict[str, object]]:
    """Versions of some orders; an order stays with its customer."""
    orders = draw(
        st.dictionaries(
            st.tuples(st.integers(0, 4), st.integers(1, 5)),
            st.fixed_dictionaries(
                {
                    "status": st.sampled_from(STATUSES),
                    "currency": st.sampled_from(["USD", "EUR", "JPY"]),
                    "total": AMOUNTS,
                    "placedAt": st.integers(1, 9).map(lambda day: f"2024-03-0{day}T08:00:00.000Z"),
                },
                optional={"captured": AMOUNTS, "refunded": AMOUNTS, "test": st.booleans()},
            ),
            min_size=1,
            max_size=10,
        )
    )
    return [
        {"orderId": f"ord_{number}", "orderVersion": version, **order}
        for (number, version), order in orders.items()
    ]


@st.composite
def deliveries(
    draw: st.DrawFn,
) -> tuple[list[dict[str, object]], list[list[dict[str, object]]]]:
    """What was sent; and the batches in which it arrives, in any order, with any repeats."""
    sent = draw(shops())
    repeats = draw(st.lists(st.sampled_from(sent), max_size=8))
    arrived = draw(st.permutations([*sent, *repeats]))
    cuts = sorted(draw(st.sets(st.integers(1, len(arrived)), max_size=4)) | {len(arrived)})
    batches = [arrived[start:end] for start, end in zip([0, *cuts], cuts, strict=False)]
    read_again = draw(st.lists(st.sampled_from(batches), max_size=2))  # as after a crash
    return sent, [*batches, *read_again]


@dataclass
class World:
    postgres: Postgres
    appender: Appender
    log: EventLog
    numbers: Iterator[int] = field(default_factory=count)

    async def run(self) -> Run:
        """With customers and orders that nobody has used yet."""
        number = next(self.numbers)
        creations = [a_creation(f"{number}_{each}@example.com") for each in range(CUSTOMERS)]
        await asyncio.gather(*(self.appender.append(each) for each in creations))
        return Run(f"{number}_", [each.customer_id for each in creations])


@dataclass(frozen=True)
class Run:
    prefix: str
    customers: Sequence[CustomerId]

    def customer_of(self, order: dict[str, object]) -> CustomerId:
        return self.customers[int(str(order["orderId"])[-1]) % CUSTOMERS]

    def message(self, order: dict[str, object]) -> OrderMessage:
        own = {
            "orderId": f"{self.prefix}{order['orderId']}",
            "customerId": self.customer_of(order),
        }
        message = read_message(a_record(order | own))
        assert isinstance(message, OrderMessage)
        return message


@pytest.fixture(scope="module")
async def world(databases: Databases) -> AsyncIterator[World]:
    url = await databases.create()
    async with Postgres.connect(url) as postgres, appending(postgres) as appender:
        await add_tenant(postgres, "default")
        yield World(postgres, appender, EventLog(postgres, VAULT))
    await databases.drop(url)


def counted(sent: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    latest: dict[object, dict[str, object]] = {}
    for order in sorted(sent, key=lambda order: int(str(order["orderVersion"]))):
        latest[order["orderId"]] = order
    countable = ("placed", "paid", "completed")
    return [
        each for each in latest.values() if each["status"] in countable and not each.get("test")
    ]


def spend(order: dict[str, object]) -> int:
    received = order.get("captured", order["total"])
    refunded = order.get("refunded", 0)
    assert isinstance(received, int)
    assert isinstance(refunded, int)
    return max(0, received - refunded)


@given(deliveries())
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
async def test_any_delivery_gives_the_same_roll_ups(
    world: World, delivery: tuple[list[dict[str, object]], list[list[dict[str, object]]]]
) -> None:
    sent, batches = delivery
    run = await world.run()
    for batch in batches:
        outcomes = await Recorder(world.postgres).record([run.message(order) for order in batch])
        assert set(outcomes) <= {"recorded", "older", "repeated"}
    for customer_id in run.customers:
        events = [event async for event in world.log.stream("default", customer_id)]
        assert [event.version for event in events] == list(range(1, len(events) + 1))
        customer = fold(events)
        assert customer is not None
        own = [order for order in counted(sent) if run.customer_of(order) == customer_id]
        spent: dict[str, int] = {}
        for order in own:
            currency = str(order["currency"])
            spent[currency] = spent.get(currency, 0) + spend(order)
        document = customer.document("USD")
        assert document.order_count == len(own)
        assert document.spent_by_currency == spent
        assert document.total_spent == spent.get("USD", 0)
        last = max((str(order["placedAt"]) for order in own), default=None)
        expected = None if last is None else datetime.fromisoformat(last)
        assert document.last_order_at == expected
