"""Two API processes append side by side, for callers who get in each other's way."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from uuid import uuid4

from tests.system.checking import check_everything
from tests.system.installation import Installation
from tests.system.traffic import Caller, Ledger

WRITERS = 32
ROUNDS = 8
BUSY_CUSTOMERS = 4
WANTED_EMAILS = [f"wanted{number}@example.com" for number in range(6)]
AN_ADDRESS = {"line1": "456 Oak Ave", "city": "Portland", "country": "US"}


async def test_whatever_writers_do_to_each_other_everything_agrees(
    installation: Installation,
) -> None:
    apis = [await installation.start("api") for _ in range(2)]
    await installation.start("relay")
    await installation.start("projections")
    ledger = Ledger()
    caller = Caller(installation, apis, ledger)
    busy = [await _create(caller) for _ in range(BUSY_CUSTOMERS)]
    async with asyncio.TaskGroup() as group:
        for number in range(WRITERS):
            writer = Caller(installation, apis[:: 1 if number % 2 else -1], ledger)
            group.create_task(_write(writer, Random(number), busy))

    await check_everything(installation, apis[0], ledger)
    assert _winners(ledger) == dict.fromkeys(WANTED_EMAILS, 1)
    # A busy machine keeps some waiting for too long: they were told to come back, and did.
    assert ledger.statuses.keys() - {503} == {200, 201, 204, 404, 409, 412, 422}
    passing = {"version_conflict", "idempotency_in_flight", "overloaded", "database_unavailable"}
    assert ledger.problems.keys() - passing == {
        *("customer_deleted", "email_taken", "precondition_failed", "idempotency_key_reused")
    }
    for role in installation.roles:
        assert role.is_running
        assert role.failures == []


def _winners(ledger: Ledger) -> Counter[str]:
    """How many got each of the e-mail addresses that all wanted."""
    creations = [write for write in ledger.writes if write.path == "/user" and write.body]
    emails = [write.body["email"] for write in creations if write.is_acknowledged]
    return Counter(email for email in emails if email in WANTED_EMAILS)


async def _create(caller: Caller, **fields: object) -> str:
    answer = await caller.write("POST", "/user", {"email": f"{uuid4().hex}@example.com", **fields})
    assert answer.status == 201
    return answer.path


async def _write(caller: Caller, choose: Random, busy: list[str]) -> None:
    for email in choose.sample(WANTED_EMAILS, 3):
        await caller.write(
            "POST", "/user", {"email": email}, key=choose.choice((None, uuid4().hex))
        )
    for _ in range(ROUNDS):
        action = choose.choice((_change_busy, _race, _repeat, _live_and_die, _reuse_key))
        await action(caller, choose.choice(busy))
        await asyncio.sleep(0)


async def _change_busy(caller: Caller, path: str) -> None:
    """Without conditions nobody is refused for somebody else's sake, but for very bad luck."""
    mark = uuid4().hex
    for method, part, body in (
        ("PUT", "", {"firstName": mark, "metadata": {"last": mark}}),
        ("POST", "/address", {**AN_ADDRESS, "label": mark}),
    ):
        answer = await caller.write(method, path + part, body)
        assert answer.status in {200, 201} or answer.code == "version_conflict"
        if answer.status == 201:
            removed = await caller.write("DELETE", f"{path}/address/{answer.path[6:]}")
            assert removed.status == 204 or removed.code == "version_conflict"


async def _race(caller: Caller, path: str) -> None:
    """Both saw the same version, at best one may build on it."""
    version = (await caller.get(path)).version
    changes = [{"lastName": uuid4().hex} for _ in range(2)]
    writes = [caller.write("PATCH", path, change, if_match=version) for change in changes]
    statuses = sorted([answer.status for answer in await asyncio.gather(*writes)])
    assert statuses in ([200, 412], [412, 412])


async def _repeat(caller: Caller, path: str) -> None:
    """The same request to both processes at once, and once more when it is done."""
    mark, key = uuid4().hex, uuid4().hex
    body = {"phone": "+1-555-0123", "lastName": mark}
    answer = await caller.write("PUT", path, body, key=key, senders=3)
    assert answer.status == 200 or answer.code == "version_conflict"
    email = f"{mark}@example.com"
    answer = await caller.write("POST", "/user", {"email": email}, key=f"{key}+", senders=3)
    assert answer.status == 201


async def _live_and_die(caller: Caller, _: str) -> None:
    """A customer of one's own, seen through both processes as it was just left."""
    email = f"{uuid4().hex}@example.com"
    path = await _create(caller, tags=["vip"])
    renamed = await caller.write("PATCH", path, {"email": email, "tags": ["vip", "new"]})
    for _ in range(2):
        assert (await caller.get(path)).body == renamed.body
    unchanged = await caller.write("POST", f"{path}/tag", {"tags": ["VIP"]}, changes=False)
    assert (unchanged.status, unchanged.version) == (200, renamed.version)
    assert (await caller.write("DELETE", path)).status == 204
    for _ in range(2):
        assert (await caller.get(path)).code == "customer_deleted"
    assert (await caller.write("PUT", path, {"firstName": "Jane"})).code == "customer_deleted"
    assert (await caller.write("POST", "/user", {"email": email})).status == 201


async def _reuse_key(caller: Caller, path: str) -> None:
    """A key stands for one request."""
    key = uuid4().hex
    first = await caller.write("POST", f"{path}/tag", {"tags": [key]}, key=key)
    assert first.status == 200 or first.code == "version_conflict"
    if first.status == 200:
        other = await caller.write("POST", f"{path}/tag", {"tags": ["other"]}, key=key)
        assert other.code == "idempotency_key_reused"
        again = await caller.write("DELETE", f"{path}/tag/{key}")
        assert again.status == 200 or again.code == "version_conflict"
