"""Each process under a database user of its own: the whole of a customer's life works.

Invariant: no process under test ever has the owner's address.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping

import pytest

from service.postgres import Postgres
from service.rights import ROLES
from tests.end_to_end.command import run
from tests.support.topics import events_of, eventually, read_topic
from tests.support.users import users_of
from tests.system.installation import Installation, Role, ask

END_TIMEOUT_SECONDS = 20.0
PROCESSES = {role.removeprefix("customers_"): role for role in ROLES}
WHO_IS_CONNECTED = """
SELECT DISTINCT application_name || ' ' || split_part(usename, '_', 2)
FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE $1 ORDER BY 1
"""


@pytest.fixture
async def users(installation: Installation) -> AsyncIterator[Mapping[str, str]]:
    async with users_of(installation.database_url) as urls:
        yield urls


async def look_around(system: Installation, api: Role) -> str:
    """The console's overview."""
    form, home = {"token": system.token}, f"{api.url}/console"
    async with system.session.post(f"{home}/sign-in", data=form, allow_redirects=False) as answer:
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
    async with system.session.get(home, headers={"Cookie": cookie}) as answer:
        assert answer.status == 200
        return await answer.text()


async def publish_order(system: Installation, customer_id: str) -> None:
    order = {
        "orderId": "ord_9", "orderVersion": 1, "customerId": customer_id, "status": "paid",
        "currency": "USD", "total": 4_200,
    }  # fmt: skip
    path = system.folder / "order.jsonl"
    path.write_text(json.dumps(order))
    await system.command("orders", "publish", str(path))


async def test_a_customers_life_under_four_users(
    installation: Installation, users: Mapping[str, str]
) -> None:
    system = installation
    roles = {
        name: system.launch(name, DATABASE_URL=users[role]) for name, role in PROCESSES.items()
    }
    try:
        await system.until_ready(*roles.values())
        await _live(system, roles["api"])
        async with Postgres.connect(system.database_url, pool_size_max=1) as postgres:
            connected = await postgres.fetch(str, WHO_IS_CONNECTED, "customers-%")
        assert connected == [f"customers-{name} {name}" for name in sorted(PROCESSES)]
        assert [line for role in roles.values() for line in role.failures] == []
        assert [line for role in roles.values() for line in role.logged("permission denied")] == []
    finally:
        for role in roles.values():
            role.process.stop()


async def _live(system: Installation, api: Role) -> None:
    """Created, sold to, listed, changed, moved, told of, sent out, deleted, forgotten."""
    jane = {"email": "jane@example.com", "firstName": "Jane", "tags": ["vip"]}
    path = f"/user/{(await ask(system, api, 'POST', '/user', jane))['id']}"
    customer_id = path.rpartition("/")[2]
    await publish_order(system, customer_id)

    async def is_listed(spent: int, first_name: str) -> bool:
        listed = await ask(system, api, "GET", "/user?tag=vip&q=jane&sort=totalSpent:desc")
        models = listed["models"]
        assert isinstance(models, list)
        return [(each["totalSpent"], each["firstName"]) for each in models] == [(spent, first_name)]

    await eventually(lambda: is_listed(4_200, "Jane"))
    await ask(system, api, "PUT", path, {"firstName": "Janet"})
    address = {"line1": "1 Main St", "city": "Portland", "country": "US"}
    await ask(system, api, "POST", f"{path}/address", address)
    await eventually(lambda: is_listed(4_200, "Janet"))
    assert (await ask(system, api, "GET", f"{path}/orders"))["count"] == 1
    assert (await ask(system, api, "GET", f"{path}?version=1"))["firstName"] == "Jane"
    assert (await ask(system, api, "GET", f"{path}/events"))["events"]
    overview = await look_around(system, api)
    assert "a relay holds the lease" in overview
    assert "Intake of orders" in overview
    await ask(system, api, "GET", f"{path}/export")
    await ask(system, api, "DELETE", path)

    async def is_forgotten() -> bool:
        done = run(system.folder, "erase", "verify", customer_id, **system.settings)
        return bool(json.loads(done.stdout)["forgotten"])

    await eventually(is_forgotten)
    sent = events_of(await read_topic(system.bootstrap_servers, system.events_topic))
    types = [each.type.removeprefix("customer.") for each in sent]
    assert types == ["created", "order_recorded", "updated", "address_added", "deleted"]


@pytest.mark.parametrize(
    ("name", "others", "lacking"),
    [
        ("api", "customers_relay", "function forget_old_keys"),
        ("relay", "customers_intake", "schema (relay|vault)"),
        ("projections", "customers_relay", "schema (projection|read_model)"),
        ("intake", "customers_relay", "function record_orders"),
    ],
)
async def test_a_process_with_anothers_user_ends_with_one_sentence(
    name: str, others: str, lacking: str, installation: Installation, users: Mapping[str, str]
) -> None:
    role = installation.launch(name, DATABASE_URL=users[others])
    said = await asyncio.to_thread(role.process.wait_for, "grant the user the role of its process")
    assert await asyncio.to_thread(role.process.process.wait, END_TIMEOUT_SECONDS) == 2
    sentences = [line for line in role.process.said if not line.startswith("{")]
    assert len(sentences) == 1, role.process.said
    assert re.search(f"permission denied for {lacking}", sentences[0]), said


async def test_an_api_that_lacks_a_right_says_which_and_does_the_rest(
    installation: Installation, users: Mapping[str, str]
) -> None:
    system = installation
    api = await system.start("api", DATABASE_URL=users["customers_api"])
    async with Postgres.connect(system.database_url, pool_size_max=1) as owner:
        await owner.execute("REVOKE SELECT ON read_model.customer FROM customers_api")
        await owner.execute("REVOKE EXECUTE ON FUNCTION log.append FROM customers_api")

    refused = (("GET", "/user", None), ("POST", "/user", {"email": "joe@example.com"}))
    for method, path, body in refused:
        async with system.session.request(
            method, api.url + path, json=body, headers=system.headers
        ) as answer:
            problem = await answer.json()
        assert (answer.status, problem["code"]) == (503, "database_not_ready")
        assert "permission denied" not in json.dumps(problem)
    for denied in ("view customer", "function append"):

        async def is_logged(text: str = f"permission denied for {denied}") -> bool:
            return bool(api.logged(text))

        await eventually(is_logged)
    assert {json.loads(line)["event"] for line in api.failures} == {"right_missing"}

    await system.command("migrate")
    await ask(system, api, "GET", "/user")
    await ask(system, api, "POST", "/user", {"email": "joe@example.com"})
    api.process.stop()
