"""Upgrades that nobody notices: an event gets a new version while old and new run side by side.

Invariant: the releases are real processes of different code, and what is written is judged by
`customers verify` of the newest one, and by the answers that callers had.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM
from uuid import uuid4

import aiohttp
import pytest

from projections.parked import parked_customers
from service.postgres import Postgres
from tests.end_to_end.command import STOP_TIMEOUT_SECONDS
from tests.support.releases import NEW_TYPE, OLD_TYPE, READS_IT, WRITES_IT, released
from tests.support.topics import eventually, read_topic
from tests.system.installation import Installation, Role
from tests.system.traffic import Caller, Ledger, Load, under_load

pytestmark = [pytest.mark.real_kafka, pytest.mark.timeout(400)]

WORKERS = ("projections", "relay")
READERS_FIRST = (*WORKERS, "api")
BETWEEN = 8  # acknowledged writes from one replacement to the next
CALLERS = 3
READ_PAUSE_SECONDS = 0.05  # load enough, as that of the writers
SHOWN_WITHIN_SECONDS = 45.0


@dataclass
class Fleet:
    """Two APIs and one of each worker, under load. Callers are sent to `apis`."""

    system: Installation
    apis: list[Role]
    workers: dict[str, Role]
    ledger: Ledger = field(default_factory=Ledger)
    reads: Counter[int] = field(default_factory=Counter)

    async def replace_all(self, release: Path, load: Load, order: Sequence[str]) -> None:
        """One process after the other, so that old and new are side by side all the while."""
        for name in order:
            if name != "api":
                await self._replace_worker(name, release, load)
                continue
            for _ in range(len(self.apis)):
                old = self.apis.pop(0)  # nobody is sent there any more, as by a proxy
                await ended(old)
                self.apis.append(await self.system.start_again(old, release))
                await load.grows(BETWEEN)

    async def _replace_worker(self, name: str, release: Path, load: Load) -> None:
        old, self.workers[name] = self.workers[name], await self.system.start(name, release=release)
        await load.grows(BETWEEN)
        await ended(old)
        await load.grows(BETWEEN)


async def ended(role: Role) -> None:
    """As an operator ends it, and well."""
    role.process.process.send_signal(SIGTERM)
    code = await asyncio.to_thread(role.process.process.wait, STOP_TIMEOUT_SECONDS)
    assert (code, role.failures) == (0, [])


@pytest.fixture
async def fleet(installation: Installation) -> AsyncIterator[Fleet]:
    apis = [installation.launch("api") for _ in range(2)]
    workers = {name: installation.launch(name) for name in WORKERS}
    await installation.until_ready(*apis, *workers.values())
    made = Fleet(installation, apis, workers)
    yield made
    for role in (*made.apis, *made.workers.values()):
        role.process.stop()


@pytest.fixture(scope="module")
def reads_it(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return released(tmp_path_factory.mktemp("reads-it"), READS_IT)


@pytest.fixture(scope="module")
def writes_it(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return released(tmp_path_factory.mktemp("writes-it"), WRITES_IT)


async def test_no_request_fails_while_every_role_is_replaced_by_two_releases(
    fleet: Fleet, reads_it: Path, writes_it: Path
) -> None:
    system, apis = fleet.system, fleet.apis
    async with reading(fleet), under_load(system, apis, fleet.ledger, callers=CALLERS) as load:
        await load.grows(BETWEEN)
        await fleet.replace_all(reads_it, load, READERS_FIRST)
        assert (await written_types(system)).keys() == {OLD_TYPE}
        await fleet.replace_all(writes_it, load, READERS_FIRST[::-1])  # they meet version 2
        await load.grows(BETWEEN)
    assert max(fleet.ledger.statuses) < 500
    assert fleet.reads.keys() == {200}
    assert all(write.is_acknowledged for write in fleet.ledger.writes)
    assert await shown_and_fed(system, apis[0]) == (NEW_TYPE, OLD_TYPE)
    forgotten = await delete_some(fleet)
    made = [write for write in fleet.ledger.writes if write.path == "/user"]
    await eventually(lambda: is_shown(system, apis[0], len(made) - forgotten), SHOWN_WITHIN_SECONDS)
    written = await written_types(system)
    assert written.keys() == {OLD_TYPE, NEW_TYPE}
    assert written.total() == len(made)
    assert await published_types(system) == written
    found = json.loads(await system.command("verify", "--json", release=writes_it))
    assert found["findings"] == []
    assert set(found["customersCompared"].values()) == {len(made)}


async def test_who_skips_the_release_that_reads_loses_nothing_and_is_told(
    installation: Installation, writes_it: Path
) -> None:
    """An old projection parks, an old relay passes on, an old API refuses; all is well after."""
    old = {name: await installation.start(name) for name in READERS_FIRST}
    new = await installation.start("api", release=writes_it)
    body = {"email": f"{uuid4().hex}@example.com", "firstName": "Jane"}
    created = await Caller(installation, [new], Ledger()).write("POST", "/user", body)
    assert created.status == 201
    await eventually(lambda: is_parked(installation, created.path))
    for method, path in (("GET", created.path), ("PUT", created.path)):
        url = f"{old['api'].url}{path}"
        body = {"firstName": "Janet"} if method == "PUT" else None
        async with installation.session.request(
            method, url, json=body, headers=installation.headers
        ) as answer:
            assert answer.status == 500
    await eventually(lambda: is_published(installation, created.position))

    old["projections"].process.stop()
    await installation.start("projections", release=writes_it)
    await installation.command("parked", "release", "--all", release=writes_it)
    assert json.loads(await installation.command("parked", "list", "--json"))["parked"] == []
    shown = await Caller(installation, [new], Ledger()).get(created.path)
    assert (json.loads(shown.body)["firstName"], shown.version) == ("Jane", 1)
    found = json.loads(await installation.command("verify", "--json", release=writes_it))
    assert found["findings"] == []


@asynccontextmanager
async def reading(fleet: Fleet) -> AsyncIterator[None]:
    """Callers who read customers, histories and lists all the while, at whichever API answers."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(_keep_reading(fleet, stop))
        try:
            yield
        finally:
            stop.set()


async def _keep_reading(fleet: Fleet, stop: asyncio.Event) -> None:
    caller = Caller(fleet.system, fleet.apis, Ledger())
    while not stop.is_set():
        await asyncio.sleep(READ_PAUSE_SECONDS)
        made = [each for each in fleet.ledger.writes if each.path == "/user" and each.answers]
        for path in ("/user", *(each.answers[0].path for each in made[-1:])):
            for asked in (path, f"{path}/events") if path != "/user" else (path,):
                try:
                    fleet.reads[(await caller.get(asked)).status] += 1
                except aiohttp.ClientError:  # the connection was kept by who has ended since
                    continue


async def shown_and_fed(system: Installation, api: Role) -> tuple[str, str]:
    """As which versions the history and the feed have the log's first event, a creation."""
    async with system.session.get(f"{api.url}/events?limit=1", headers=system.headers) as answer:
        fed = json.loads(await answer.text())
    path = f"/user/{fed['customerId']}/events"
    async with system.session.get(api.url + path, headers=system.headers) as answer:
        shown = (await answer.json())["events"][0]
    assert shown["id"] == fed["id"]
    assert {"givenName"} <= shown["data"].keys()
    return shown["type"], fed["type"]


async def delete_some(fleet: Fleet) -> int:
    """Of both versions: what the releases keep of them must not tell who they were."""
    caller = Caller(fleet.system, fleet.apis, Ledger())
    made = [write for write in fleet.ledger.writes if write.path == "/user"]
    chosen = [made[0], made[-1]]
    for write in chosen:
        assert (await caller.write("DELETE", write.answers[0].path)).status == 204
    return len(chosen)


async def is_shown(system: Installation, api: Role, customers: int) -> bool:
    async with system.session.get(f"{api.url}/user?display=1", headers=system.headers) as answer:
        return bool((await answer.json())["count"] == customers)


async def is_parked(system: Installation, path: str) -> bool:
    """For a reason that names what to do."""
    async with Postgres.connect(system.database_url, pool_size_max=1) as postgres:
        parked = {each.customer_id: each.reason async for each in parked_customers(postgres)}
    return parked.get(path.rpartition("/")[2]) == "unknown_type"


async def is_published(system: Installation, position: int | None) -> bool:
    records = await read_topic(system.bootstrap_servers, system.events_topic)
    return any(dict(each.headers)["ce_position"] == b"%d" % (position or 0) for each in records)


async def written_types(system: Installation) -> Counter[str]:
    """Of the events that create, by the version that was written."""
    statement = """
        SELECT type || '.v' || schema_version FROM log.event WHERE type = 'customer.created'
    """
    async with Postgres.connect(system.database_url, pool_size_max=1) as postgres:
        return Counter(await postgres.fetch(str, statement))


async def published_types(system: Installation) -> Counter[str]:
    records = await read_topic(system.bootstrap_servers, system.events_topic)
    names = [dict(each.headers)["ce_type"].decode() for each in records]
    return Counter(name for name in names if name.startswith("customer.created."))
