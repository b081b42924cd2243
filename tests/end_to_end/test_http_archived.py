"""What callers are told and shown while old events are archived."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.identifiers import CustomerId
from tests.servers.server import Handle
from tests.support.api import Answer, Api, serving_api
from tests.support.archiving import POSITIONS, Archive, old_customers, small_partitions
from tests.support.console import signed_in
from tests.support.streams import STREAM
from tests.support.up_to_date_queries import up_to_date
from tests.support.verifying import a_system

PARTITIONS = 3
LAST = PARTITIONS * POSITIONS - 1


@dataclass
class World:
    api: Api
    archive: Archive
    old: CustomerId

    @property
    def path(self) -> str:
        return f"/user/{self.old}"


@pytest.fixture
async def world(
    database: str, kafka_server: Handle, topic_suffix: str, tmp_path: Path
) -> AsyncIterator[World]:
    async with a_system(database, kafka_server, topic_suffix) as system:
        await small_partitions(system.postgres)
        (old, *_) = await old_customers(system, PARTITIONS)
        await system.model.catch_up()
        archive = Archive(system.postgres, tmp_path)
        await archive.archive(PARTITIONS)
        async with (
            up_to_date(system.postgres) as queries,
            serving_api(system.postgres, queries) as api,
        ):
            yield World(api, archive, old)


def is_told(answer: Answer) -> bool:
    assert f"positions 1 to {LAST} are archived" in answer.json["detail"]
    return (answer.status, answer.code) == (410, "events_archived")


async def test_what_callers_are_told(world: World) -> None:
    api, who = world.api, world.path
    for path in (
        f"{who}?version=1",
        f"{who}/export",
        "/events?after=0",
        f"/events?after={LAST - 1}",
    ):
        assert is_told(await api.get(path)), path
    assert is_told(await api.call("GET", "/events?after=5", headers=STREAM))
    created = (await api.get(who)).json["createdAt"]
    assert is_told(await api.get(f"{who}?at={created}"))
    later = await api.get(f"/events?after={LAST}")
    assert later.status == 200
    assert json.loads(later.body.splitlines()[0])["position"] == LAST + 1
    assert (await api.get(f"{who}?at=2001-01-01T00:00:00Z")).code == "customer_not_found"
    for _ in range(PARTITIONS):
        await world.archive.attach()
    for path in (f"{who}?version=1", f"{who}/export", "/events?after=0"):
        assert (await api.get(path)).status == 200, path


async def test_what_callers_are_shown(world: World) -> None:
    api, who = world.api, world.path
    shown = await api.get(who)
    version = shown.json["version"]
    assert (await api.get(f"{who}?at=2100-01-01T00:00:00Z")).json == shown.json
    assert (await api.get(f"{who}?version={version}")).json == shown.json

    history = (await api.get(f"{who}/events")).json
    assert (history["count"], history["archivedTo"]) == (version, version)
    assert (history["events"], history["nextCursor"]) == ([], None)
    changed = await api.put(who, {"firstName": "Grace"})
    assert (changed.status, changed.json["version"]) == (200, version + 1)
    again = (await api.get(f"{who}/events")).json
    assert (again["count"], again["archivedTo"]) == (version + 1, version)
    (event,) = again["events"]
    assert event["version"] == version + 1
    assert event["changes"]["firstName"] == {"from": "Jane", "to": "Grace"}
    page = await (await signed_in(api)).get(f"/console/customers/{world.old}")
    assert f"The first {version} events are archived" in page.text

    orders = (await api.get(f"{who}/orders")).json
    assert orders["count"] == 2
    assert {each["refunded"] for each in orders["models"]} == {300}
    assert (await api.delete(who)).status == 204
    assert (await api.get(who)).code == "customer_deleted"
