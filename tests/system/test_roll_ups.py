"""Orders shuffled and repeated, roles killed on the way, customers deleted: the sums are right.

Invariant: what is expected is worked out from the messages alone, after the table in
docs/guarantees.md, "Roll-ups".
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

import pytest

from service.kafka import KafkaConfig
from service.postgres import Postgres
from tests.support.orders import an_order, send
from tests.support.topics import eventually
from tests.system.installation import Installation, Role

# The stand-in loses its records with its process, and its groups with their members.
pytestmark = pytest.mark.real_kafka

CUSTOMERS, ORDERS, VERSIONS_MAX = 6, 60, 6
SEEN_WITHIN_SECONDS = 60.0
Message: TypeAlias = dict[str, object]
Sums: TypeAlias = Counter[tuple[str, str]]

TOTALS = """
SELECT currency, count(*) FILTER (WHERE is_countable), sum(amount)::bigint
FROM read_model.contribution GROUP BY currency ORDER BY currency
"""
ROWS = """
SELECT customer_id, order_id, order_version, currency, amount, is_countable, placed_at, order_state
FROM read_model.contribution ORDER BY customer_id, order_id
"""
DOCUMENTS = "SELECT id, version, document FROM read_model.customer ORDER BY id"
FILL_AGAIN = """
TRUNCATE customers_v1.customer, customers_v1.profile, customers_v1.activity, customers_v1.tagged,
         customers_v1.search, customers_v1.counter, customers_v1.day, customers_v1.contribution,
         customers_v1.anonymous;
DELETE FROM projection.checkpoint WHERE projection = 'customers';
"""


def histories(choose: Random, customers: Sequence[str]) -> list[Message]:
    """Every version of every order; an order stays with its customer."""
    return [
        an_order(
            f"ord_{number}",
            version,
            customers[number % len(customers)],
            status=choose.choice(["pending", "placed", "paid", "completed", "cancelled", "failed"]),
            currency=choose.choice(["USD", "EUR"]),
            total=choose.randrange(10_000),
            captured=choose.choice([..., choose.randrange(10_000)]),
            refunded=choose.choice([..., choose.randrange(10_000)]),
            test=choose.random() < 0.1,
        )
        for number in range(ORDERS)
        for version in range(1, choose.randint(1, VERSIONS_MAX) + 1)
    ]


def latest(sent: Sequence[Message]) -> list[Message]:
    in_order = sorted(sent, key=lambda order: int(str(order["orderVersion"])))
    return list({order["orderId"]: order for order in in_order}.values())


def sums(orders: Sequence[Message]) -> Sums:
    """Count and spend by currency; nothing is nothing."""
    told: Sums = Counter()
    for order in orders:
        if order["status"] in {"placed", "paid", "completed"} and not order["test"]:
            currency = str(order["currency"])
            received = int(str(order.get("captured", order["total"])))
            told[currency, "count"] += 1
            told[currency, "spend"] += max(0, received - int(str(order.get("refunded", 0))))
    return +told


@dataclass
class Shop:
    system: Installation
    roles: dict[str, Role]

    async def ask(self, method: str, path: str, body: object = None) -> Mapping[str, object]:
        url = self.roles["api"].url + path
        async with self.system.session.request(
            method, url, json=body, headers=self.system.headers
        ) as answer:
            assert answer.status < 300, await answer.text()
            return json.loads(await answer.text() or "{}")

    async def publish(self, orders: Sequence[Message]) -> None:
        config = KafkaConfig(
            self.system.bootstrap_servers, topic_prefix=self.system.settings["KAFKA_TOPIC_PREFIX"]
        )
        records = [
            (str(order["orderId"]).encode(), json.dumps(order).encode(), []) for order in orders
        ]
        topic = config.orders_topic.name
        await asyncio.to_thread(send, config.bootstrap_servers, topic, records, "none")

    async def kill_one(self, choose: Random) -> None:
        name = choose.choice(["intake", "relay", "projections"])
        self.roles[name].kill()
        self.roles[name] = await self.system.start_again(self.roles[name])


@pytest.fixture
async def shop(installation: Installation) -> Shop:
    names = ("api", "relay", "projections", "intake")
    roles = {name: installation.launch(name) for name in names}
    await installation.until_ready(*roles.values())
    return Shop(installation, roles)


async def shown_totals(postgres: Postgres) -> Sums:
    told: Sums = Counter()
    for currency, count, spend in await postgres.fetch(lambda *row: row, TOTALS):
        told[currency, "count"], told[currency, "spend"] = count, spend
    return +told


async def test_whatever_is_killed_and_deleted_the_sums_are_right(shop: Shop) -> None:
    choose = Random(2_026)
    customers = [
        str((await shop.ask("POST", "/user", {"email": f"c{number}@example.com"}))["id"])
        for number in range(CUSTOMERS)
    ]
    sent = histories(choose, customers)
    arriving = [*sent, *choose.choices(sent, k=len(sent) // 2)]
    choose.shuffle(arriving)
    third = len(arriving) // 3
    for part in (arriving[:third], arriving[third : 2 * third]):
        await shop.publish(part)
        await shop.kill_one(choose)
    gone, living = customers[:2], customers[2:]
    for customer_id in gone:
        await shop.ask("DELETE", f"/user/{customer_id}")
    await shop.publish(arriving[2 * third :])
    await shop.kill_one(choose)

    async with Postgres.connect(shop.system.database_url, pool_size_max=2) as postgres:

        async def are_right() -> bool:
            return await shown_totals(postgres) == sums(latest(sent))

        await eventually(are_right, SEEN_WITHIN_SECONDS)
        for customer_id in living:
            await _is_right(shop, customer_id, sent)
        rows = await postgres.fetch(lambda *row: row, ROWS)
        assert {row[0] for row in rows if not row[0].startswith("anon_")} <= set(living)
        documents = await postgres.fetch(lambda *row: row, DOCUMENTS)

        shop.roles["projections"].kill()
        await postgres.execute(FILL_AGAIN)
        shop.roles["projections"] = await shop.system.start_again(shop.roles["projections"])

        async def are_the_same() -> bool:
            return (
                await postgres.fetch(lambda *row: row, ROWS) == rows
                and await postgres.fetch(lambda *row: row, DOCUMENTS) == documents
            )

        await eventually(are_the_same, SEEN_WITHIN_SECONDS)


async def _is_right(shop: Shop, customer_id: str, sent: Sequence[Message]) -> None:
    own = sums([each for each in latest(sent) if each["customerId"] == customer_id])
    shown = await shop.ask("GET", f"/user/{customer_id}")
    assert shown["orderCount"] == sum(own[currency, "count"] for currency in ("USD", "EUR"))
    assert shown["totalSpent"] == own["USD", "spend"]
    spent = {name: own[name, "spend"] for name in ("EUR", "USD") if own[name, "count"]}
    assert shown["spentByCurrency"] == spent
