"""`customers verify` as an operator and a script run it."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from projections.derived import load_modules, make_tables
from tests.end_to_end.command import run
from tests.servers.server import Handle
from tests.support.derived import MODULE, Added, write_example
from tests.support.projections import running
from tests.support.topics import eventually
from tests.support.verifying import System, a_system

MASTER_KEY = b64encode(b"k" * 32).decode()  # tests.support.vaults.KEY
NOWHERE = "127.0.0.1:1"


@dataclass
class Installation:
    system: System
    folder: Path
    settings: dict[str, str]

    async def run(self, *arguments: str, **settings: str) -> CompletedProcess[str]:
        return await asyncio.to_thread(
            run, self.folder, "verify", *arguments, **{**self.settings, **settings}
        )


@pytest.fixture
async def installed(
    database: str, kafka_server: Handle, topic_suffix: str, tmp_path: Path
) -> AsyncIterator[Installation]:
    async with a_system(database, kafka_server, topic_suffix) as system:
        await system.traffic(2)
        await system.settle()
        settings = {
            "DATABASE_URL": database,
            "KAFKA_BOOTSTRAP_SERVERS": system.config.bootstrap_servers,
            "KAFKA_TOPIC_PREFIX": system.config.topic_prefix,
            "MASTER_KEY": MASTER_KEY,
        }
        yield Installation(system, tmp_path, settings)


async def test_nothing_found_is_0_and_what_was_compared_is_told(installed: Installation) -> None:
    result = await installed.run("--json")
    assert result.returncode == 0, result.stderr
    assert result.stderr == "Nothing found.\n"
    report = json.loads(result.stdout)
    head = report["head"]
    assert head > 30
    assert report["published"] == head
    assert (report["found"], report["findings"], report["counts"]) == (0, [], {})
    assert report["parts"] == ["log", "kafka", "states", "read-model", "projections"]
    assert report["eventsCompared"] == {"log": head, "kafka": head}
    assert report["customersCompared"] == {"log": 4, "states": 4, "readModel": 4}
    assert (report["projections"], report["leftOut"]) == ({}, [])
    assert (report["customersBehind"], report["customersParked"]) == (0, 0)
    assert report["seconds"] > 0
    assert len(report["epoch"]) == 32


async def test_what_is_found_is_1_and_listed_without_people(installed: Installation) -> None:
    await installed.system.damage(
        "UPDATE customers_v1.activity SET total_spent = 987654321",
        "UPDATE customers_v1.customer SET document = replace(document, 'Jane', 'Frieda')",
    )
    result = await installed.run("--json", "--only", "read-model")
    assert result.returncode == 1
    report = json.loads(result.stdout)
    assert report["counts"] == {"read_model": {"different": report["found"]}}
    first = report["findings"][0]
    assert first.keys() == {
        "kind", "where", "detail", "customerId", "position", "partition", "offset",
    }  # fmt: skip
    assert result.stderr.startswith(f"Found {report['found']}: ")
    for text in ("Frieda", "Jane", "987654321", "example.com"):
        assert text not in result.stdout + result.stderr

    told = await installed.run("--without-kafka")
    assert told.returncode == 1
    assert "read_model\tdifferent\tcust_" in told.stdout
    assert "customer.document is not as the log says, in firstName" in told.stdout


async def test_without_kafka_it_has_to_be_said(installed: Installation) -> None:
    away = await installed.run("--json", KAFKA_BOOTSTRAP_SERVERS=NOWHERE)
    assert (away.returncode, away.stdout) == (1, "")
    assert "Kafka" in away.stderr
    del installed.settings["KAFKA_BOOTSTRAP_SERVERS"]
    unset = await installed.run("--json")
    assert (unset.returncode, unset.stdout) == (2, "")
    assert "--without-kafka" in unset.stderr
    told = await installed.run("--json", "--without-kafka")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["parts"] == ["log", "read-model", "projections"]


async def test_an_added_projection_is_compared_where_its_module_is_named(
    installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(installed.folder))
    write_example(installed.folder)
    added = Added(installed.system.model, load_modules([MODULE])[MODULE])
    await make_tables(installed.system.postgres, [added.derived])
    async with running(added.runner()):
        await eventually(added.is_up_to_date)
    named = {"PROJECTION_MODULES": MODULE}
    done = await installed.run("--json", "--only", "projections", **named)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    counts = {"customers": 4, "leftOut": 0, "behind": 0, "parked": 0}
    assert report["projections"] == {"second_order_v1": counts}
    assert (report["leftOut"], report["customersBehind"]) == ([], None)
    await installed.system.damage("UPDATE derived.second_order_v1 SET days = 7")
    found = await installed.run("--only", "projections", **named)
    assert found.returncode == 1
    assert "projections\tdifferent\tcust_" in found.stdout
    assert "second_order_v1: differs from the log in days" in found.stdout
    left_out = await installed.run("--json", "--only", "projections")
    assert left_out.returncode == 0
    assert json.loads(left_out.stdout)["leftOut"] == ["second_order_v1"]
    assert (
        "names no module of it: second_order_v1"
        in (await installed.run("--only", "projections")).stderr
    )


async def test_the_topic_of_another_log_is_found(installed: Installation) -> None:
    await installed.system.damage("UPDATE log.head SET epoch = 'another'")
    result = await installed.run("--json", "--only", "kafka")
    assert result.returncode == 1
    report = json.loads(result.stdout)
    assert "no relay can publish" in report["findings"][0]["detail"]
    assert report["found"] > report["head"]
    assert len(report["findings"]) == 20
