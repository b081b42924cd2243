"""A customer is made, changed, sold to and deleted; then nothing anywhere tells who it was.

Invariant: what is searched for is every personal value that was sent, in everything that is there:
all tables and statistics, the topics' present contents, exports, and what the roles logged.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from service.postgres import Postgres
from tests.end_to_end.command import run
from tests.support.dump import dump
from tests.support.topics import eventually, read_topic
from tests.system.installation import Installation, Role

PERSONAL = (
    "quentin", "Tarquin", "Featherstone", "+1-555-0177", "Larchwood", "Attic", "Dunmore",
    "Kerryshire", "XQ7 4ZZ", "falconry",
)  # fmt: skip
CUSTOMER = {
    "email": "quentin@example.com",
    "firstName": "Tarquin",
    "lastName": "Featherstone",
    "phone": "+1-555-0177",
    "tags": ["vip"],
    "metadata": {"hobby": "falconry"},
}
ADDRESS = {
    "label": "Attic",
    "line1": "9 Larchwood",
    "city": "Dunmore",
    "state": "Kerryshire",
    "postalCode": "XQ7 4ZZ",
    "country": "IE",
}


@dataclass
class Shop:
    system: Installation
    api: Role
    url: str  # of the customer

    @property
    def customer_id(self) -> str:
        return self.url.rpartition("/")[2]

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> str:
        async with self.system.session.request(
            method, self.api.url + path, json=body, headers={**self.system.headers, **headers}
        ) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.text()

    async def publish(self, version: int, refunded: int) -> None:
        order = {
            "orderId": "ord_9", "orderVersion": version, "customerId": self.customer_id,
            "status": "paid", "currency": "USD", "total": 4_200, "refunded": refunded,
        }  # fmt: skip
        path = self.system.folder / "order.jsonl"
        path.write_text(json.dumps(order))
        await self.system.command("orders", "publish", str(path))

    async def spent(self) -> int:
        return int(json.loads(await self.ask("GET", self.url))["totalSpent"])

    async def verified(self) -> tuple[int, dict[str, object]]:
        """The exit code, and what the command printed."""
        folder, settings = self.system.folder, self.system.settings
        done = run(folder, "erase", "verify", self.customer_id, **settings)
        return done.returncode, json.loads(done.stdout)


@pytest.fixture
async def shop(installation: Installation) -> Shop:
    roles = [installation.launch(name) for name in ("api", "relay", "projections", "intake")]
    await installation.until_ready(*roles)
    shop = Shop(installation, roles[0], "")
    key = {"Idempotency-Key": f"signup-{CUSTOMER['email']}"}
    created = json.loads(await shop.ask("POST", "/user", CUSTOMER, **key))
    shop.url = f"/user/{created['id']}"
    return shop


def found(haystack: str) -> list[str]:
    return [each for each in PERSONAL if each.lower() in haystack.lower()]


@pytest.mark.real_kafka
async def test_a_deleted_customer_is_forgotten_everywhere(shop: Shop) -> None:
    system = shop.system
    await shop.ask("POST", f"{shop.url}/address", ADDRESS)
    await shop.ask("PUT", shop.url, {"firstName": "Tarquinius"})
    await shop.publish(1, refunded=0)
    await eventually(lambda: _is(shop, 4_200))
    assert set(found(await shop.ask("GET", f"{shop.url}/export"))) == set(PERSONAL)
    code, report = shop_report = await shop.verified()
    assert (code, report["deletedAt"]) == (1, None), shop_report

    await shop.ask("DELETE", shop.url)
    await shop.publish(2, refunded=1_200)
    await eventually(lambda: _is_gone(shop))

    code, report = await shop.verified()
    assert (code, report["forgotten"]) == (0, True), report
    assert report["clearAt"] is not None, "the events topic still has it"
    async with Postgres.connect(system.database_url, pool_size_max=1) as postgres:
        await postgres.execute("ANALYZE")
        everything = await dump(postgres)
        rows = await postgres.fetch(
            lambda *row: row,
            "SELECT customer_id LIKE 'anon\\_%', amount, currency FROM read_model.contribution",
        )
    assert found(everything.decode(errors="replace")) == []
    assert rows == [(True, 3_000, "USD")]
    states = await read_topic(system.bootstrap_servers, _topic(system, "customer.state.v1"))
    assert {each.key: each.value for each in states}[shop.customer_id.encode()] is None
    for name in ("commerce.orders.v1", "commerce.orders.v1.dlq"):
        records = await read_topic(system.bootstrap_servers, _topic(system, name))
        assert found(repr(records)) == []
    assert found("\n".join(line for role in system.roles for line in role.process.said)) == []
    again = json.loads(await shop.ask("POST", "/user", CUSTOMER))
    assert (again["orderCount"], again["totalSpent"]) == (0, 0)


def _topic(system: Installation, name: str) -> str:
    return system.settings["KAFKA_TOPIC_PREFIX"] + name


async def _is(shop: Shop, spent: int) -> bool:
    return await shop.spent() == spent


async def _is_gone(shop: Shop) -> bool:
    """The projections, the refund and the topic of states have come so far."""
    _, report = await shop.verified()
    async with Postgres.connect(shop.system.database_url, pool_size_max=1) as postgres:
        amounts = await postgres.fetch(int, "SELECT amount FROM read_model.contribution")
    return report["forgotten"] is True and amounts == [3_000]
