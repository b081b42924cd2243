"""`customers rebuild` as an operator and a script run it, beside a running worker."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from subprocess import CompletedProcess
from typing import Any

import pytest

from projections.versions import Version, versions
from tests.end_to_end.command import run
from tests.support.parking import a_customer
from tests.support.projections import (
    Projected,
    a_history,
    append_history,
    projected,
    running,
)
from tests.support.rebuilding import built
from tests.support.topics import eventually

MASTER_KEY = b64encode(b"k" * 32).decode()  # tests.support.vaults.KEY


@dataclass
class Installation:
    model: Projected
    folder: Path
    settings: dict[str, str]

    async def run(self, *arguments: str) -> CompletedProcess[str]:
        return await asyncio.to_thread(run, self.folder, "rebuild", *arguments, **self.settings)

    async def prints(self, *arguments: str) -> Any:
        return json.loads((await self.run(*arguments, "--json")).stdout)

    async def versions(self) -> list[Version]:
        return await versions(self.model.postgres)


@pytest.fixture
async def installed(database: str, tmp_path: Path) -> AsyncIterator[Installation]:
    async with projected(database) as model:
        await append_history(model.appender, a_history(Random(1), steps=80))
        async with running(model.runner()):
            await eventually(model.is_up_to_date)
            settings = {"DATABASE_URL": database, "MASTER_KEY": MASTER_KEY}
            yield Installation(model, tmp_path, settings)


async def test_built_gone_over_to_and_back(installed: Installation) -> None:
    done = await installed.run("--json", "--processes", "1")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["version"], told["isRead"]) == (2, True)
    assert (told["customersCompared"], told["customersDifferent"], told["buckets"]) == (4, 0, [])
    assert told["eventsPerSecond"] > 0
    assert "Building version 2 up to position" in done.stderr
    assert "Version 2 is read now. Version 1 is kept" in done.stderr
    assert await installed.versions() == [Version(1, "kept"), Version(2, "active")]
    told = await installed.prints("--rollback")
    assert told == {"version": 1, "keptVersion": 2}
    assert await installed.versions() == [Version(1, "active"), Version(2, "kept")]
    await append_history(installed.model.appender, a_history(Random(2), steps=30), prefix="b_")
    await eventually(installed.model.is_up_to_date)
    await installed.model.assert_exact()
    assert (await installed.prints())["version"] == 3  # and what was kept is gone
    assert await installed.versions() == [Version(1, "kept"), Version(3, "active")]
    assert await installed.prints("--drop-old") == {"droppedVersion": 1}
    assert await installed.versions() == [Version(3, "active")]
    await append_history(installed.model.appender, a_history(Random(3), steps=30), prefix="c_")
    await eventually(installed.model.is_up_to_date)
    await installed.model.assert_exact()


async def test_a_worker_that_still_feeds_what_was_dropped_goes_over(
    installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has not looked yet which version is read, and its next batch finds no table."""
    monkeypatch.setattr("projections.runner.FOLLOW_SECONDS", 3_600.0)
    await append_history(installed.model.appender, a_history(Random(2), steps=30), prefix="b_")
    await eventually(installed.model.is_up_to_date)
    assert (await installed.prints())["isRead"]
    assert await installed.prints("--drop-old") == {"droppedVersion": 1}
    await append_history(installed.model.appender, a_history(Random(3), steps=30), prefix="c_")
    await eventually(installed.model.is_up_to_date)
    await installed.model.assert_exact()


async def test_what_differs_is_told_and_not_gone_over_to(installed: Installation) -> None:
    customer_id = await a_customer(installed.model, tags=1)
    await eventually(installed.model.is_up_to_date)
    await installed.model.postgres.execute(
        "UPDATE customers_v1.customer SET item = replace(item, 'jane@', 'joan@') WHERE id = $1",
        customer_id,
    )
    done = await installed.run("--json")
    assert done.returncode == 1
    assert "Version 2 differs from what is read (1 customers, 0 contradictions" in done.stderr
    assert "jane@" not in done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert (told["isRead"], told["customersDifferent"]) == (False, 1)
    (odd,) = told["buckets"]
    assert odd["customers"] == [customer_id]
    assert odd["checksumRead"] != odd["checksumBuilt"]
    assert await installed.versions() == [Version(1, "active"), Version(2, "building")]
    done = await installed.run("--force")
    assert done.returncode == 0, done.stderr
    assert "Going on with version 2" in done.stderr
    await eventually(installed.model.is_up_to_date)
    await installed.model.assert_exact()


async def test_a_build_that_was_not_gone_over_to_is_removed(installed: Installation) -> None:
    await built(installed.model.postgres)
    assert await installed.prints("--abandon") == {"droppedVersion": 2}
    assert await installed.versions() == [Version(1, "active")]
    assert (await installed.prints())["version"] == 3


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--rollback", "No version is kept.\n"),
        ("--drop-old", "No version is kept.\n"),
        ("--abandon", "No version is being built.\n"),
    ],
)
async def test_what_there_is_not(installed: Installation, option: str, sentence: str) -> None:
    done = await installed.run(option)
    assert (done.returncode, done.stderr) == (1, sentence)


async def test_contradicting_options_are_wrong_use(installed: Installation) -> None:
    assert (await installed.run("--rollback", "--abandon")).returncode == 2
