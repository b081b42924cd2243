"""The read model built anew under load, by killed commands, while the API serves and writes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from signal import SIGKILL
from time import monotonic
from uuid import uuid4

import pytest

from service.postgres import Postgres
from tests.support.topics import eventually
from tests.support.users import users_of
from tests.system.installation import Installation, Role

CALLERS = 3
LAG_SECONDS_MAX = 10.0  # until a list shows a write: the machine may be busy, the flip may not
SERVED_SECONDS_MAX = 60.0
DELETED_EVERY = 7
LOCKED = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
AND wait_event_type = 'Lock' AND query ILIKE 'COPY%'
"""
LIVING = "SELECT count(*) FROM log.stream WHERE NOT is_closed"
MADE = "SELECT count(*) FROM pg_namespace WHERE nspname = 'customers_v2'"


class Wrong(Exception):
    """What no caller may see."""


@dataclass
class Traffic:
    """Callers who write and look whether lists and reads show it; what went wrong."""

    system: Installation
    api: Role
    wrong: list[str] = field(default_factory=list)
    lists: int = 0
    latest: int = 0  # position that a list has shown
    deleted: list[str] = field(default_factory=list)

    async def call(self) -> None:
        for number in count():
            try:
                await self._live(number)
            except Wrong as error:
                self.wrong.append(str(error))

    async def _live(self, number: int) -> None:
        email = f"{uuid4().hex}@example.com"
        created = await self._ask("POST", "/user", {"email": email, "tags": ["vip"]})
        path = f"/user/{created[0]['id']}"
        changed = await self._ask("PUT", path, {"firstName": f"Jane {number}"})
        position = int(changed[1]["Log-Position"])
        at_least = self.latest
        listed, headers = await self._shown(f"/user?email={email}&minPosition={position}")
        self._expect([each["firstName"] for each in listed["models"]] == [f"Jane {number}"])
        self._expect(int(headers["As-Of-Position"]) >= max(position, at_least))
        self.latest = max(self.latest, int(headers["As-Of-Position"]))
        tagged, _ = await self._ask("GET", "/user?tag=vip&display=1")
        self._expect(len(tagged["models"]) == 1)
        got, _ = await self._ask("GET", path)
        self._expect(got["version"] == 2)
        self.lists += 2
        if number % DELETED_EVERY == 0:
            await self._ask("DELETE", path)
            self.deleted.append(str(created[0]["id"]))

    async def _ask(
        self, method: str, path: str, body: object = None
    ) -> tuple[dict[str, list[dict[str, object]]], dict[str, str]]:
        async with self.system.session.request(
            method, self.api.url + path, json=body, headers=self.system.headers
        ) as answer:
            text = await answer.text()
            if answer.status >= 300:
                raise Wrong(f"{method} {path}: {answer.status} {text}")
            return json.loads(text or "{}"), dict(answer.headers)

    async def _shown(self, path: str) -> tuple[dict[str, list[dict[str, object]]], dict[str, str]]:
        """Asked again, where it is told that the list is not there yet."""
        deadline = monotonic() + LAG_SECONDS_MAX
        while True:
            try:
                return await self._ask("GET", path)
            except Wrong as error:
                if "projection_lag" not in str(error) or monotonic() > deadline:
                    raise

    def _expect(self, is_right: bool) -> None:
        if not is_right:
            raise Wrong("a list or a read shows something else")


@asynccontextmanager
async def calling(traffic: Traffic) -> AsyncIterator[None]:
    callers = [asyncio.create_task(traffic.call()) for _ in range(CALLERS)]
    try:
        yield
    finally:
        for caller in callers:
            caller.cancel()
        await asyncio.wait(callers)


async def served(traffic: Traffic, more: int) -> None:
    """Once so many lists more were answered."""
    target = traffic.lists + more

    async def are_served() -> bool:
        assert traffic.wrong == []
        return traffic.lists >= target

    await eventually(are_served, SERVED_SECONDS_MAX)


async def killed_while_it_fills(system: Installation, postgres: Postgres) -> None:
    rebuilding = system.launch("rebuild")

    async def is_made() -> bool:
        return bool(await postgres.fetch_one(int, MADE))

    async def is_filling() -> bool:
        return bool(await postgres.fetch_one(int, LOCKED))

    await eventually(is_made)
    async with postgres.transaction() as transaction:
        await transaction.execute("LOCK TABLE customers_v2.customer IN SHARE MODE")
        await eventually(is_filling)
        rebuilding.process.stop(SIGKILL)


@pytest.mark.timeout(300)
async def test_a_rebuild_that_is_killed_goes_on_while_everything_runs(
    installation: Installation,
) -> None:
    system = installation
    async with (
        users_of(system.database_url) as users,
        Postgres.connect(system.database_url, pool_size_max=3) as postgres,
    ):
        roles = {
            name: system.launch(name, DATABASE_URL=users[f"customers_{name}"])
            for name in ("api", "relay", "projections")
        }
        try:
            await system.until_ready(*roles.values())
            traffic = Traffic(system, roles["api"])
            async with calling(traffic):
                await served(traffic, 30)
                await killed_while_it_fills(system, postgres)
                await served(traffic, 30)
                done = json.loads(await system.command("rebuild", "--json"))
                assert (done["version"], done["isRead"], done["buckets"]) == (2, True, [])
                assert done["customersCompared"] > 0
                await served(traffic, 30)
                await system.command("rebuild", "--rollback")
                await served(traffic, 30)
                await system.command("rebuild", "--rollback")
                await served(traffic, 30)
            assert traffic.wrong == []
            await _is_right(system, traffic, postgres)
            await system.command("rebuild", "--drop-old")
            await _is_right(system, traffic, postgres)
            assert [line for role in roles.values() for line in role.failures] == []
            assert len(roles["projections"].logged("version_followed")) == 3
        finally:
            for role in roles.values():
                role.process.stop()


async def _is_right(system: Installation, traffic: Traffic, postgres: Postgres) -> None:
    """In every way in which it can be looked at, once all is shown."""

    async def is_forgotten() -> bool:
        each = traffic.deleted[-1]
        told = json.loads(await system.command("erase", "verify", each))
        return bool(told["forgotten"])

    await eventually(is_forgotten)
    await system.command("verify")
    listed, _ = await traffic._ask("GET", "/user?display=1")
    assert listed["count"] == await postgres.fetch_one(int, LIVING)
