"""`customers keys rotate` as an operator runs it: beside roles at work, broken off, prepared."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Event

import asyncpg
import pytest

from service.embedded.child_process import free_port
from service.identifiers import new_customer_id
from service.master_key import KeySource, MasterKey, WrappingKey
from service.vault import CustomerKey, Vault
from service.vault.rotation import BATCH_KEYS_MAX
from tests.end_to_end.command import POLL_SECONDS, START_TIMEOUT_SECONDS, call, run, running

ROTATIONS = 3
WRITERS = 3
WRAPPED_BY = "SELECT count(*) FROM vault.customer_key WHERE substr(wrapped, 1, 8) = $1"
WRAPS_NOW = "SELECT id FROM vault.wrapping_key"


@dataclass
class Place:
    folder: Path
    database: str
    connection: asyncpg.Connection

    @property
    def source(self) -> KeySource:
        return KeySource(self.folder / "master.key")

    def key(self) -> MasterKey:
        key = self.source.read()
        assert key is not None
        return key

    def run(self, *arguments: str, **settings: str) -> tuple[int, str, str]:
        result = run(self.folder, *arguments, DATABASE_URL=self.database, **settings)
        for text in (result.stdout, result.stderr):
            for secret in (each.secret for each in self.key().wrapping):
                assert b64encode(secret).decode() not in text
        return result.returncode, result.stdout, result.stderr

    async def hold(self, customers: int) -> list[str]:
        """Customers who have nothing but keys, by id."""
        vault = Vault(self.key())
        ids = sorted(new_customer_id() for _ in range(customers))
        await self.connection.copy_records_to_table(
            "customer_key",
            schema_name="vault",
            columns=["customer_id", "wrapped"],
            records=[(each, vault.wrap(each, CustomerKey.new())) for each in ids],
        )
        return list(ids)

    async def wrapped_by(self, key: MasterKey) -> int:
        return await self.connection.fetchval(WRAPPED_BY, key.wrapping[0].id)


@pytest.fixture
async def place(database: str, tmp_path: Path) -> AsyncIterator[Place]:
    migrated = run(tmp_path, "migrate", DATABASE_URL=database)
    assert migrated.returncode == 0, migrated.stderr
    connection = await asyncpg.connect(database)
    try:
        yield Place(tmp_path, database, connection)
    finally:
        await connection.close()


def a_token(place: Place) -> str:
    scopes = ("--tenant", "default", "--scopes", "admin")
    return place.run("token", "create", *scopes)[1].strip()


def traffic(url: str, token: str, ended: Event, writer: int) -> Counter[int]:
    """Creates, changes and reads until told to end; how often each status was answered."""
    seen: Counter[int] = Counter()
    for number in count():
        if ended.is_set():
            return seen
        body = {"email": f"jane{writer}.{number}@example.com", "firstName": "Jane"}
        status, answer = call("POST", f"{url}/user", token, body)
        seen[status] += 1
        if status == 201:
            path = f"{url}/user/{json.loads(answer)['id']}"
            seen[call("PUT", path, token, {"firstName": "Janet"})[0]] += 1
            seen[call("GET", path, token)[0]] += 1
    raise AssertionError("unreachable")


async def test_roles_go_on_without_a_restart(place: Place) -> None:
    port, token = free_port(), a_token(place)
    settings = {"DATABASE_URL": place.database, "HTTP_PORT": str(port)}
    url = f"http://127.0.0.1:{port}"
    with running(place.folder, "api", **settings) as api:
        api.wait_for("api_started")
        await until_ready(url)
        jane = {"email": "jane@example.com", "firstName": "Jane"}
        _, created = call("POST", f"{url}/user", token, jane)
        customer = f"{url}/user/{json.loads(created)['id']}"
        ended = Event()
        async with asyncio.TaskGroup() as tasks:
            at_work = [
                tasks.create_task(asyncio.to_thread(traffic, url, token, ended, writer))
                for writer in range(WRITERS)
            ]
            try:
                for _ in range(ROTATIONS):
                    old = place.key()
                    code, _, said = await asyncio.to_thread(place.run, "keys", "rotate")
                    assert code == 0, said
                    assert await place.wrapped_by(old) == 0
            finally:
                ended.set()
        seen = sum((task.result() for task in at_work), Counter[int]())
        assert set(seen) == {200, 201}
        assert call("GET", customer, token)[0] == 200
        assert call("POST", f"{url}/user", token, jane)[0] == 409
    living = await place.connection.fetchval("SELECT count(*) FROM vault.customer_key")
    assert await place.wrapped_by(place.key()) == living == seen[201] + 1


async def until_ready(url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while call("GET", f"{url}/readyz")[0] != 200:
        assert time.monotonic() < deadline
        await asyncio.sleep(POLL_SECONDS)


async def test_a_killed_run_is_taken_up_again(place: Place, database: str) -> None:
    ids = await place.hold(3 * BATCH_KEYS_MAX)
    old = place.key()
    other = await asyncpg.connect(database)
    lock = "SELECT customer_id FROM vault.customer_key WHERE customer_id = $1 FOR UPDATE"
    with running(place.folder, "keys", "rotate", DATABASE_URL=database) as rotation:
        async with other.transaction():
            await other.fetch(lock, ids[-1])
            deadline = time.monotonic() + START_TIMEOUT_SECONDS
            while await place.wrapped_by(old) > BATCH_KEYS_MAX:
                assert time.monotonic() < deadline
                await asyncio.sleep(POLL_SECONDS)
            assert rotation.stop(signal.SIGKILL)[0] == -signal.SIGKILL
    await other.close()
    begun = place.key()
    assert begun.wrapping[1:] == old.wrapping
    code, out, said = place.run("keys", "rotate", "--json")
    assert code == 0, said
    document = json.loads(out)
    assert document["wrappingKeyId"] == begun.wrapping[0].id.hex()
    assert document["rewrapped"] <= BATCH_KEYS_MAX
    assert (document["total"], document["unopened"]) == (3 * BATCH_KEYS_MAX, 0)
    assert place.key().wrapping == begun.wrapping[:1]
    assert await place.wrapped_by(begun) == 3 * BATCH_KEYS_MAX


async def test_a_key_that_does_not_open_is_named(place: Place) -> None:
    jane, *_ = await place.hold(3)
    cut = "UPDATE vault.customer_key SET wrapped = substr(wrapped, 1, 40) WHERE customer_id = $1"
    await place.connection.execute(cut, jane)
    for rewrapped in (2, 0):
        code, out, said = place.run("keys", "rotate", "--json")
        assert code == 1
        assert json.loads(out) | {"wrappingKeyId": ""} == {
            "wrappingKeyId": "", "rewrapped": rewrapped, "total": 3,
            "unopened": 1, "unopenedCustomers": [jane],
        }  # fmt: skip
        assert f"The key of {jane} does not open.\nKeys that do not open: 1;" in said
        assert len(place.key().wrapping) == 2


async def test_a_key_in_the_environment_is_prepared_first(place: Place) -> None:
    await place.hold(3)
    given = place.source.path.read_text()
    code, _, said = place.run("keys", "rotate", MASTER_KEY=given)
    assert code == 2
    assert "`customers keys rotate --prepare FILE` writes what belongs there" in said
    code, out, said = place.run("keys", "rotate", "--prepare", "next.key", MASTER_KEY=given)
    assert (code, out) == (0, ""), said
    path = place.folder / "next.key"
    assert path.stat().st_mode & 0o777 == 0o600
    prepared = path.read_text()
    again = place.run("keys", "rotate", "--prepare", "next.key", MASTER_KEY=given)
    assert again[0] == 2
    assert again[2].endswith("next.key cannot be written: File exists.\n")
    twice = place.run("keys", "rotate", "--prepare", "third.key", MASTER_KEY=prepared)
    assert (twice[0], "is prepared already" in twice[2]) == (1, True)
    code, _, said = place.run("keys", "rotate", MASTER_KEY=prepared)
    assert code == 0, said
    assert "leave only the first wrap: in CUSTOMERS_MASTER_KEY.\n" in said
    words = prepared.split()
    assert [word[:5] for word in words] == ["root:", "wrap:", "wrap:"]
    left = KeySource(place.source.path, " ".join(words[:2])).read()
    assert left is not None
    assert await place.wrapped_by(left) == 3
    refused = place.run("keys", "rotate", MASTER_KEY=given)
    assert (refused[0], "last in use with" in refused[2]) == (2, True)


async def test_a_key_in_the_environment_stays_whole_where_another_rotation_switched(
    place: Place, database: str
) -> None:
    """Nothing was wrapped by its first wrapping key, so the advice would lose customers' keys."""
    await place.hold(3)
    old = place.key()
    prepared = old.with_wrapping(WrappingKey.new(), *old.wrapping)
    other = await asyncpg.connect(database)
    async with asyncio.TaskGroup() as tasks, other.transaction():
        await other.execute("LOCK TABLE vault.customer_key")  # before it counts and wraps
        rotate = asyncio.to_thread(place.run, "keys", "rotate", MASTER_KEY=prepared.text())
        rotating = tasks.create_task(rotate)
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while await place.connection.fetchval(WRAPS_NOW) != prepared.wrapping[0].id:
            assert time.monotonic() < deadline
            await asyncio.sleep(POLL_SECONDS)
        await other.execute("UPDATE vault.wrapping_key SET id = $1", WrappingKey.new().id)
    await other.close()
    code, _, said = rotating.result()
    assert (code, "leave only the first wrap:" in said) == (1, False), said
    assert "Another rotation has begun meanwhile" in said
    assert await place.wrapped_by(old) == 3


async def test_with_copies_of_the_file_the_new_key_is_handed_out_first(place: Place) -> None:
    """The role's machine has a copy of its own; it is not restarted."""
    port, token = free_port(), a_token(place)
    there = place.folder / "there.key"
    there.write_bytes(place.source.path.read_bytes())
    settings = {"DATABASE_URL": place.database, "HTTP_PORT": str(port)}
    url = f"http://127.0.0.1:{port}"
    with running(place.folder, "api", **settings, MASTER_KEY_FILE=str(there)) as api:
        api.wait_for("api_started")
        await until_ready(url)
        bodies = ({"email": f"jane{number}@example.com"} for number in count())
        assert call("POST", f"{url}/user", token, next(bodies))[0] == 201
        assert place.run("keys", "rotate", "--prepare", "next.key")[0] == 0
        for copy in (there, place.source.path):
            copy.write_bytes((place.folder / "next.key").read_bytes())
        assert call("POST", f"{url}/user", token, next(bodies))[0] == 201
        assert place.run("keys", "rotate")[0] == 0
        status, created = call("POST", f"{url}/user", token, next(bodies))
        assert status == 201
        path = f"{url}/user/{json.loads(created)['id']}"
        assert call("PUT", path, token, {"firstName": "Jane"})[0] == 200
