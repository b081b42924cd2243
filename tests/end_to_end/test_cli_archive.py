"""`customers log partitions`, `archive`, `attach` as an operator runs them, killed at any step."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from service.customer import DeleteCustomer
from service.identifiers import CustomerId
from tests.end_to_end.command import COMMAND_TIMEOUT_SECONDS, environment, run
from tests.servers.server import Handle
from tests.support.archiving import POSITIONS, age, old_customers, small_partitions, stored
from tests.support.dump import dump
from tests.support.logs import a_request
from tests.support.verifying import System, a_system

MASTER_KEY = b64encode(b"k" * 32).decode()  # tests.support.vaults.KEY
ARCHIVE_STEPS = ("_write", "write_file", "compare", "make_snapshots", "_take_away")
ATTACH_STEPS = ("_fill", "_attach", "drop_unneeded_snapshots")
PERSONAL = ("Zoë", "Jane", "456 Oak Ave", "@example.com")


@dataclass
class Installation:
    system: System
    folder: Path
    settings: dict[str, str]
    customers: list[CustomerId] = field(default_factory=list)

    @property
    def archive(self) -> Path:
        return self.folder / "archive"

    async def run(self, *arguments: str, **settings: str) -> CompletedProcess[str]:
        return await asyncio.to_thread(
            run, self.folder, *arguments, **{**self.settings, **settings}
        )

    async def archived(self, *arguments: str) -> CompletedProcess[str]:
        return await self.run("log", "archive", "--to", str(self.archive), *arguments)

    async def attached(self, *arguments: str) -> CompletedProcess[str]:
        return await self.run("log", "attach", *(arguments or (str(self.archive),)))

    async def killed(self, step: str, *arguments: str) -> None:
        """The command dies there, with nobody to clean up."""
        command = (sys.executable, "-m", "tests.support.dying_archive", step, "log", *arguments)
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            capture_output=True,
            timeout=COMMAND_TIMEOUT_SECONDS,
            check=False,
            env=environment(self.folder, self.settings),
        )
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()

    async def partitions(self) -> dict[str, object]:
        told = await self.run("log", "partitions", "--json")
        assert told.returncode == 0, told.stderr
        return json.loads(told.stdout)


@pytest.fixture
async def installed(
    database: str, kafka_server: Handle, topic_suffix: str, tmp_path: Path
) -> AsyncIterator[Installation]:
    async with a_system(database, kafka_server, topic_suffix) as system:
        await small_partitions(system.postgres)
        customers = await old_customers(system, 3)
        await age(system.postgres, 3 * POSITIONS)
        await system.settle()
        settings = {
            "DATABASE_URL": database,
            "KAFKA_BOOTSTRAP_SERVERS": system.config.bootstrap_servers,
            "KAFKA_TOPIC_PREFIX": system.config.topic_prefix,
            "MASTER_KEY": MASTER_KEY,
        }
        yield Installation(system, tmp_path, settings, customers)


async def test_what_is_old_leaves_and_comes_back(installed: Installation) -> None:
    before = await stored(installed.system.postgres)
    listed = await installed.partitions()
    assert listed["archivedTo"] == 0
    states = [each["state"] for each in listed["partitions"]]
    assert states[:4] == ["in_use"] * 4
    assert set(states[4:]) == {"ahead"}
    assert [(each["first"], each["last"], each["events"]) for each in listed["partitions"][:2]] == [
        (1, 29, 29),
        (30, 59, 30),
    ]

    bounded = await installed.archived("--up-to", "59", "--json")
    assert bounded.returncode == 0, bounded.stderr
    told = json.loads(bounded.stdout)
    assert told["archived"] == ["event_000000", "event_000001"]
    assert "behind --up-to 59" in told["why"]
    listed = await installed.partitions()
    assert listed["archivedTo"] == 59
    gone = listed["partitions"][1]
    assert (gone["state"], gone["events"]) == ("archived", 30)
    assert gone["file"] == "log-000000000030-000000000059.parquet"
    assert gone["firstTime"] < gone["archivedAt"]

    again = await installed.archived("--up-to", "59")
    assert again.returncode == 1
    assert "Nothing was archived. The oldest partition stays" in again.stderr
    rest = await installed.archived()
    assert rest.returncode == 0, rest.stderr
    assert "The next partition stays: it is not full" in rest.stderr
    assert (await installed.partitions())["archivedTo"] == 3 * POSITIONS - 1
    assert await stored(installed.system.postgres) == before[3 * POSITIONS - 1 :]

    first = await installed.attached()
    assert first.returncode == 0, first.stderr
    assert (await installed.partitions())["archivedTo"] == 2 * POSITIONS - 1
    oldest = installed.archive / "log-000000000001-000000000029.parquet"
    too_early = await installed.attached(str(oldest))
    assert too_early.returncode == 1
    assert "newest comes back first" in too_early.stderr
    all_of_it = await installed.attached(str(installed.archive), "--all")
    assert all_of_it.returncode == 0, all_of_it.stderr
    assert await stored(installed.system.postgres) == before
    nothing = await installed.attached(str(installed.archive), "--all")
    assert (nothing.returncode, nothing.stderr) == (0, "Nothing is archived.\n")


@pytest.mark.parametrize("step", ARCHIVE_STEPS)
async def test_killed_at_any_step_archiving_goes_on(installed: Installation, step: str) -> None:
    before = await stored(installed.system.postgres)
    to = "archive", "--to", str(installed.archive)
    for when in ("before", "after"):
        await installed.killed(f"{when}:{step}", *to)
        positions = (await installed.partitions())["archivedTo"]
        assert positions == (POSITIONS - 1 if (when, step) == ("after", "_take_away") else 0)
        assert await stored(installed.system.postgres) == before[positions:]
    done = await installed.archived()
    assert done.returncode == 0, done.stderr
    assert await stored(installed.system.postgres) == before[3 * POSITIONS - 1 :]
    assert not list(installed.archive.glob(".part-*"))
    found = await installed.run("verify")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "Positions 1 to 89 are archived" in found.stderr
    assert (await installed.attached(str(installed.archive), "--all")).returncode == 0
    assert await stored(installed.system.postgres) == before
    assert (await installed.run("verify")).returncode == 0


@pytest.mark.parametrize("step", ATTACH_STEPS)
async def test_killed_at_any_step_attaching_goes_on(installed: Installation, step: str) -> None:
    before = await stored(installed.system.postgres)
    assert (await installed.archived()).returncode == 0
    for when in ("before", "after"):
        await installed.killed(f"{when}:{step}", "attach", str(installed.archive))
        gone = (await installed.partitions())["archivedTo"]
        assert await stored(installed.system.postgres) == before[gone:]
    done = await installed.attached(str(installed.archive), "--all")
    assert done.returncode == 0, done.stderr
    assert await stored(installed.system.postgres) == before
    found = await installed.run("verify")
    assert found.returncode == 0, found.stdout + found.stderr
    assert (await installed.archived()).returncode == 0  # what was left over does no harm
    assert (await installed.run("verify")).returncode == 0


async def test_a_deleted_customer_is_nowhere(installed: Installation) -> None:
    """Neither in the files nor in the states: what was sealed before opens no more."""
    assert (await installed.archived()).returncode == 0
    who = installed.customers[0]
    held = "SELECT count(*) FROM log.snapshot WHERE customer_id = $1"
    postgres = installed.system.postgres
    assert (await postgres.fetch_one(int, held, who) or 0) > 0
    await installed.system.handler.handle(a_request(who, DeleteCustomer()))
    await installed.system.settle()
    report = await installed.run("erase", "verify", who, KAFKA_BOOTSTRAP_SERVERS="")
    assert "Nothing readable is left" in report.stderr, report.stderr
    places = {each["place"]: each for each in json.loads(report.stdout)["places"]}
    assert (places["log.snapshot"]["held"], places["log.snapshot"]["readable"]) == (0, 0)
    assert "are archived: they open by the customer's key alone" in places["log.event"]["note"]
    assert places["log.event"]["readable"] == 0
    files = [path.read_bytes() for path in installed.archive.glob("*.parquet")]
    in_tables = await dump(postgres)
    for value in (f"new.{who}", *PERSONAL):
        assert not any(value.encode() in data for data in files)
    assert b"sealed" in in_tables  # the states of the living are there
    for value in ("Zoë", "456 Oak Ave"):
        snapshots = await postgres.fetch(str, "SELECT row_to_json(s)::text FROM log.snapshot AS s")
        assert not any(value in row for row in snapshots)


async def test_a_customer_whose_deletion_is_archived_is_still_told_as_deleted(
    installed: Installation,
) -> None:
    gone = await installed.system.postgres.fetch(
        str, "SELECT customer_id FROM log.stream WHERE is_closed AND position < 80"
    )
    assert (await installed.archived()).returncode == 0
    report = await installed.run("erase", "verify", gone[0], KAFKA_BOOTSTRAP_SERVERS="")
    assert "Nothing readable is left" in report.stderr, report.stderr
    assert json.loads(report.stdout)["deletedAt"] is not None


async def test_what_needs_all_of_the_log_ends_with_one_sentence(installed: Installation) -> None:
    assert (await installed.archived()).returncode == 0
    sentence = "positions 1 to 89 are archived"
    for arguments in (
        ("export", str(installed.folder / "export")),
        ("rebuild",),
        ("replay", "--to-topic", "replayed", "--from", "1"),
    ):
        done = await installed.run(*arguments)
        assert done.returncode == 2, (arguments, done.stderr)
        assert sentence in done.stderr
        assert "with `customers log attach`." in done.stderr
        assert "attach`.." not in done.stderr
        assert "Traceback" not in done.stderr
    exported = await installed.run("export", str(installed.folder / "later"), "--from", "90")
    assert exported.returncode == 0, exported.stderr


async def test_files_of_another_log_and_damaged_ones_are_refused(installed: Installation) -> None:
    assert (await installed.archived("--up-to", "29")).returncode == 0
    (path,) = installed.archive.glob("*.parquet")
    whole = path.read_bytes()
    for damaged in (whole[:-5], whole[:200] + b"\0" + whole[201:]):
        path.write_bytes(damaged)
        refused = await installed.attached(str(path))
        assert refused.returncode == 1
        assert "is not the file that was archived" in refused.stderr
        assert "Nothing was changed in the log" in refused.stderr
    path.unlink()
    missing = await installed.attached()
    assert missing.returncode == 1
    assert f"{path.name} is not there" in missing.stderr
    path.write_bytes(whole)
    assert (await installed.attached()).returncode == 0

    # The same name, of another log: never written over, and never taken for this one's.
    await installed.system.postgres.execute("UPDATE log.head SET epoch = 'another'")
    await installed.system.postgres.execute("UPDATE projection.checkpoint SET epoch = 'another'")
    await installed.system.postgres.execute("UPDATE relay.progress SET epoch = 'another'")
    other = await installed.archived("--up-to", "29")
    assert other.returncode == 1
    assert "of the log with epoch" in other.stderr
    assert path.read_bytes() == whole


async def test_wrong_use_is_told(installed: Installation) -> None:
    young = await installed.archived("--older-than", "7.5")
    assert young.returncode == 2
    assert "--older-than must be 8 days at least" in young.stderr
    assert (await installed.archived("--older-than", "nan")).returncode == 2
    old = await installed.archived("--older-than", "1000")
    assert old.returncode == 1
    assert "1,000.0 are asked for" in old.stderr
