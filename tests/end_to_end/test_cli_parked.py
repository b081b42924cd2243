"""`customers parked` as an operator and a script run it, beside a running worker."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from projections.derived import load_modules, make_tables
from service.events import CustomerTagged
from service.identifiers import CustomerId
from tests.end_to_end.command import run
from tests.support.derived import MODULE, Added, write_example
from tests.support.logs import a_change, a_creation
from tests.support.parking import mend, spoil
from tests.support.projections import Projected, projected, running
from tests.support.topics import eventually

MASTER_KEY = b64encode(b"k" * 32).decode()  # tests.support.vaults.KEY


@dataclass
class Installation:
    model: Projected
    folder: Path
    settings: dict[str, str]
    customers: tuple[CustomerId, ...]

    async def run(self, *arguments: str) -> CompletedProcess[str]:
        return await asyncio.to_thread(run, self.folder, "parked", *arguments, **self.settings)

    async def prints(self, *arguments: str) -> Any:
        return json.loads((await self.run(*arguments, "--json")).stdout)


@pytest.fixture
async def installed(database: str, tmp_path: Path) -> AsyncIterator[Installation]:
    """Two customers of two tenants, parked before their second event; a third one waits there."""
    async with projected(database) as model:
        customers = []
        for tenant in ("default", "other"):
            creation = a_creation(f"{tenant}@example.com", tenant=tenant)
            await model.appender.append(creation)
            for version in (1, 2):
                tagging = a_change(
                    creation.customer_id, version, CustomerTagged(tags=(f"tag {version}",))
                )
                await model.appender.append(tagging._replace(tenant=tenant))
            customers.append(creation.customer_id)
            await spoil(model.postgres, creation.customer_id, 2)
        settings = {"DATABASE_URL": database, "MASTER_KEY": MASTER_KEY}
        async with running(model.runner()):
            await eventually(model.is_up_to_date)
            yield Installation(model, tmp_path, settings, tuple(customers))


async def test_who_is_parked_is_listed_for_people_and_programs(installed: Installation) -> None:
    first, second = installed.customers
    told = await installed.run("list")
    assert (told.returncode, told.stderr) == (0, "")
    lines = [line.split("\t") for line in told.stdout.splitlines()]
    assert [(line[0], line[1], line[4], line[6]) for line in lines] == [
        (first, "default", "unknown_type", "2"),
        (second, "other", "unknown_type", "2"),
    ]
    (listed,) = (await installed.prints("list", "--tenant", "other"))["parked"]
    assert listed.pop("since").endswith("Z")
    assert listed == {
        "customerId": second, "tenant": "other", "version": 2, "position": 5,
        "reason": "unknown_type", "waiting": 2, "projection": "customers",
    }  # fmt: skip
    assert "example.com" not in told.stdout


async def test_who_is_parked_in_an_added_projection_is_listed_too(
    installed: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = installed.customers
    world = installed.model
    write_example(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    added = Added(world, load_modules([MODULE])[MODULE])
    await make_tables(world.postgres, [added.derived])
    await mend(world.postgres)
    await installed.run("release", "--all")
    await spoil(world.postgres, second, 3)
    async with running(added.runner()):
        await eventually(added.is_up_to_date)
    (listed,) = (await installed.prints("list"))["parked"]
    assert (listed["projection"], listed["customerId"]) == (added.derived.table, second)
    assert (listed["version"], listed["reason"], listed["waiting"]) == (3, "unknown_type", 1)
    assert await installed.prints("list", "--tenant", "default") == {"parked": []}
    (line,) = (await installed.run("list")).stdout.splitlines()
    assert line.split("\t")[-1] == added.derived.table
    assert first not in line


async def test_a_retry_says_what_happened(installed: Installation) -> None:
    first, second = installed.customers
    failed = await installed.run("retry", first, "--json")
    assert failed.returncode == 1
    assert json.loads(failed.stdout) == {
        "customerId": first, "tenant": "default", "result": "still_parked", "eventsApplied": 0,
        "version": 2, "position": 2, "reason": "unknown_type",
    }  # fmt: skip
    assert failed.stderr == (
        f"{first} is still parked, before version 2, position 2: unknown_type; applied 0 events.\n"
    )
    await mend(installed.model.postgres)
    done = await installed.run("retry", first)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"{first} goes on: applied 2 events.\n"
    again = await installed.run("retry", first, "--json")
    assert again.returncode == 0
    assert again.stderr == f"{first} is not parked.\n"
    assert json.loads(again.stdout)["result"] == "not_parked"
    nobody = await installed.run("retry", second, "--tenant", "default")
    assert (nobody.returncode, nobody.stderr) == (1, "There is no such customer in default.\n")


async def test_a_release_takes_all_who_can_go_on(installed: Installation) -> None:
    first, second = installed.customers
    await mend(installed.model.postgres)
    await spoil(installed.model.postgres, second, 3)
    some = await installed.run("release", "--all", "--json")
    assert some.returncode == 1
    report = json.loads(some.stdout)
    (left,) = report.pop("parked")
    assert report == {"released": 1, "stillParked": 1, "eventsApplied": 3}
    assert (left["customerId"], left["version"]) == (second, 3)
    assert some.stderr.splitlines()[0] == "Released 1 of 2; applied 3 events."
    assert await installed.prints("list", "--tenant", "default") == {"parked": []}
    await mend(installed.model.postgres)
    rest = await installed.run("release", second)
    assert (rest.returncode, rest.stdout) == (0, "")
    nobody = await installed.run("release", "--all")
    assert (nobody.returncode, nobody.stderr) == (0, "Released 0 of 0; applied 0 events.\n")
    await installed.model.assert_exact()
    assert first != second


async def test_wrong_use_is_2(installed: Installation) -> None:
    for arguments in (["release"], ["release", "--all", installed.customers[0]], ["retry"]):
        result = await installed.run(*arguments)
        assert (result.returncode, result.stdout) == (2, ""), arguments
