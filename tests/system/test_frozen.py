"""Processes that are frozen, and say nothing, are told as stalled: by the log, not by them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

from service.standing import STALLED_SECONDS
from tests.end_to_end.command import run
from tests.servers.pausing import paused
from tests.support.topics import eventually
from tests.system.installation import Installation, Role

# The stand-in loses its groups with their members.
pytestmark = [pytest.mark.real_kafka, pytest.mark.timeout(240)]

FOUND_WITHIN_SECONDS = STALLED_SECONDS + 30
AFTER_THE_LOG = {"relay", "projection customers", "projection states"}


@dataclass
class Running:
    system: Installation
    roles: dict[str, Role]

    async def create(self) -> str:
        async with self.system.session.post(
            f"{self.roles['api'].url}/user",
            json={"email": f"{uuid4().hex}@example.com"},
            headers=self.system.headers,
        ) as answer:
            assert answer.status == 201
            return str((await answer.json())["id"])

    async def order(self, customer_id: str, version: int) -> None:
        order = {
            "orderId": "ord_1", "orderVersion": version, "customerId": customer_id,
            "status": "paid", "currency": "USD", "total": 4_200,
        }  # fmt: skip
        path = self.system.folder / "order.jsonl"
        path.write_text(json.dumps(order))
        await self.system.command("orders", "publish", str(path))

    async def stalled(self) -> set[str]:
        """Whatever the command's end: it fails where something is down."""
        done = await asyncio.to_thread(
            run, self.system.folder, "status", "--json", **self.system.settings
        )
        return set(json.loads(done.stdout)["stalled"])

    async def come_to(self, *names: str) -> None:
        async def are_stalled() -> bool:
            return await self.stalled() == set(names)

        await eventually(are_stalled, FOUND_WITHIN_SECONDS)


@pytest.fixture(scope="module")
async def running(installation: Installation) -> AsyncIterator[Running]:
    names = ("api", "relay", "projections", "intake")
    roles = {name: installation.launch(name) for name in names}
    await installation.until_ready(*roles.values())
    yield Running(installation, roles)
    for role in roles.values():
        role.process.stop()


@pytest.mark.parametrize(
    ("frozen", "stalled"),
    [
        ("relay", AFTER_THE_LOG),
        ("projections", AFTER_THE_LOG - {"relay"}),
        ("intake", {"intake"}),
    ],
)
async def test_a_frozen_process_is_found_out(
    running: Running, frozen: str, stalled: set[str]
) -> None:
    customer_id = await running.create()
    await running.order(customer_id, 1)
    await running.come_to()
    with paused(running.roles[frozen].process.process.pid):
        await running.create()
        await running.order(customer_id, 2)
        await running.come_to(*stalled)
    await running.come_to()
