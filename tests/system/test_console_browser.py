"""The console in a real browser that runs no script: signing in, looking around, leaving.

Invariant: at every page the browser has nothing to complain about, and nothing is wider than the
window, from a phone's to a large screen's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from tests.support.browser import Browser, browsing
from tests.support.topics import eventually, read_topic
from tests.system.installation import Installation, Role

pytestmark = pytest.mark.timeout(240)

WIDTHS = (360, 768, 1_600)
LONG = "Wolfeschlegelsteinhausenbergerdorff" * 3  # one word, wider than a phone
ADDRESS = {"label": "Home", "line1": "456 Oak Ave", "city": "Portland", "country": "US"}


@dataclass
class Shop:
    """All roles, and two customers with something behind them."""

    system: Installation
    api: Role
    customer_id: str = ""

    async def ask(self, method: str, path: str, body: object) -> dict[str, object]:
        async with self.system.session.request(
            method, self.api.url + path, json=body, headers=self.system.headers
        ) as answer:
            assert answer.status < 300, await answer.text()
            return json.loads(await answer.text())

    async def fill(self) -> None:
        jane = {"email": "jane@example.com", "firstName": "Jane", "lastName": "Doe"}
        self.customer_id = str((await self.ask("POST", "/user", jane))["id"])
        path = f"/user/{self.customer_id}"
        more = {"phone": "+1-555-0123", "metadata": {"segment": "vip", LONG[:40]: LONG}}
        await self.ask("PUT", path, more)
        await self.ask("POST", f"{path}/tag", {"tags": ["vip", "early-adopter"]})
        await self.ask("POST", f"{path}/address", ADDRESS)
        for number in range(24):
            await self.ask("PUT", path, {"firstName": f"Jane {number}"})
        await self.ask("PUT", path, {"firstName": "Janet", "active": False})
        wide = {"email": f"{'w' * 60}@example.com", "firstName": LONG, "tags": [LONG]}
        await self.ask("POST", "/user", wide)
        await self.sell()

    async def sell(self) -> None:
        orders = [
            {"orderId": f"order_{number}", "orderVersion": 1, "customerId": customer_id,
             "status": status, "currency": "USD", "total": 4_500, "refunded": 500}
            for number, (customer_id, status) in enumerate(
                [(self.customer_id, "paid"), (self.customer_id, "cancelled"), ("cust_none", "paid")]
            )
        ]  # fmt: skip
        file = self.system.folder / "orders.jsonl"
        file.write_text("".join(f"{json.dumps(order)}\n" for order in orders))
        await self.system.command("orders", "publish", str(file))
        await eventually(self.is_sold, 40)
        await eventually(self.is_put_aside, 40)

    async def is_sold(self) -> bool:
        async with self.system.session.get(
            f"{self.api.url}/user?q=janet&minOrders=1", headers=self.system.headers
        ) as answer:
            return answer.status == 200 and (await answer.json())["count"] == 1

    async def is_put_aside(self) -> bool:
        prefix = self.system.settings["KAFKA_TOPIC_PREFIX"]
        topic = f"{prefix}commerce.orders.v1.dlq"
        return bool(await read_topic(self.system.bootstrap_servers, topic))


@pytest.fixture(scope="module")
async def shop(installation: Installation) -> AsyncIterator[Shop]:
    names = ("api", "relay", "projections", "intake")
    roles = {name: installation.launch(name) for name in names}
    await installation.until_ready(*roles.values())
    made = Shop(installation, roles["api"])
    await made.fill()
    yield made
    for role in roles.values():
        role.process.stop()


def look_at(browser: Browser, name: str) -> None:
    """In every form that people may have it."""
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            browser.become(width, scheme)
            assert browser.content_size()[0] == width, f"{name} is wider than {width}"
            browser.shoot(f"{name}-{width}-{scheme}")
    assert browser.complaints == [], name


def walk(shop: Shop, browser: Browser) -> None:
    token, home = shop.system.token, f"{shop.api.url}/console"
    assert not browser.runs_scripts
    browser.open(home)
    browser.arrive(f"{home}/sign-in")
    look_at(browser, "sign-in")
    browser.fill("#token", token)
    browser.arrive(home)
    browser.reads("Projection customers")
    browser.reads("unknown_customer")
    look_at(browser, "overview")
    browser.find("nav a:last-child").click()
    browser.reads("2 customers")
    look_at(browser, "customers")
    browser.fill("#q", "janet example.com")
    browser.reads("1 customer for")
    look_at(browser, "found")
    browser.follow("Janet Doe")
    browser.arrive(f"{home}/customers/{shop.customer_id}")
    browser.reads("Jane 23 Janet", ".timeline")
    browser.reads("contributes 40.00 USD", ".timeline")
    look_at(browser, "customer")
    browser.follow("Older")
    browser.reads("Created version 1", ".timeline")
    look_at(browser, "customer-older")
    browser.find(".leave button").click()
    browser.arrive(f"{home}/sign-in")
    browser.open(f"{home}/customers")
    browser.arrive(f"{home}/sign-in")
    assert browser.complaints == []


def be_refused(shop: Shop, browser: Browser) -> None:
    home = f"{shop.api.url}/console"
    browser.open(f"{home}/sign-in")
    browser.fill("#token", "ctk_nobody")
    browser.reads("unknown, expired or revoked", '[role="alert"]')
    browser.fill("#token", shop.system.token)
    browser.arrive(home)
    browser.open(f"{home}/customers/cust_nobody")
    browser.reads("There is no such customer.", "h1")
    browser.complaints  # noqa: B018 - that the answers were 403 and 404 is one
    look_at(browser, "problem")


@pytest.mark.parametrize("story", [walk, be_refused])
async def test_people_find_their_way_without_a_script(
    shop: Shop, story: Callable[[Shop, Browser], None]
) -> None:
    with browsing() as browser:
        await asyncio.to_thread(story, shop, browser)
    said = [line for role in shop.system.roles for line in role.process.said]
    assert said
    assert [line for line in said if shop.system.token in line] == []
