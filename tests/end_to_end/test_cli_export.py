"""`customers export` as an operator runs it: whole, broken off, gone on with, tampered with."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.log_export.manifest import CHUNK_POSITIONS
from service.postgres import Postgres
from service.rights import ROLES
from tests.end_to_end.command import PROGRAM, environment, run, running
from tests.support.exporting import append_many, lines_in, rows_in
from tests.support.logs import a_creation, appending
from tests.support.users import users_of

MASTER_KEY = b64encode(b"k" * 32).decode()  # tests.support.vaults.KEY
CUSTOMERS = 20
DEADLINE_SECONDS = 60.0
POLL_SECONDS = 0.01
RELAY = ROLES[1]


@dataclass
class Place:
    """A database with some events, and a folder to export to."""

    home: Path
    postgres: Postgres
    url: str

    @property
    def folder(self) -> Path:
        return self.home / "events"

    @property
    def settings(self) -> dict[str, str]:
        return {"DATABASE_URL": self.url, "MASTER_KEY": MASTER_KEY}

    async def export(self, *options: str, **settings: str) -> tuple[int, str, str]:
        given = {**self.settings, **settings}
        done = await asyncio.to_thread(run, self.home, "export", "events", *options, **given)
        return done.returncode, done.stdout, done.stderr

    def manifest(self) -> dict[str, object]:
        return json.loads((self.folder / "manifest.json").read_bytes())

    def names(self) -> list[str]:
        return [file["name"] for file in self.manifest()["files"]]

    def positions(self) -> list[int]:
        return [line["position"] for line in lines_in(self.folder, self.names())]


@pytest.fixture
async def place(database: str, tmp_path: Path) -> AsyncIterator[Place]:
    async with Postgres.connect(database) as postgres, appending(postgres) as appender:
        creations = [a_creation(f"c{number}@example.com") for number in range(CUSTOMERS)]
        await asyncio.gather(*(appender.append(each) for each in creations))
        yield Place(tmp_path, postgres, database)


def is_as_told(place: Place) -> bool:
    """Counts and checksums of the manifest against the files."""
    manifest = place.manifest()
    for file in manifest["files"]:
        data = (place.folder / file["name"]).read_bytes()
        if (len(data), hashlib.sha256(data).hexdigest()) != (file["bytes"], file["sha256"]):
            return False
    sums = [sum(file[name] for file in manifest["files"]) for name in ("events", "bytes")]
    return sums == [manifest["events"], manifest["bytes"]]


async def test_all_of_the_log_with_a_manifest(place: Place) -> None:
    code, out, said = await place.export("--json")
    assert code == 0, said
    told = json.loads(out)
    assert (told["from"], told["to"], told["events"], told["files"]) == (1, CUSTOMERS, CUSTOMERS, 1)
    assert place.positions() == list(range(1, CUSTOMERS + 1))
    assert is_as_told(place)
    manifest = place.manifest()
    assert manifest["formatVersion"] == 1
    assert manifest["epoch"] == told["epoch"]
    assert (manifest["fromPosition"], manifest["toPosition"]) == (1, CUSTOMERS)
    assert (manifest["tenant"], manifest["personalData"]) == (None, True)
    assert manifest["completedAt"] is not None
    assert sorted(each.name for each in place.folder.iterdir()) == [*place.names(), "manifest.json"]
    assert {each.stat().st_mode & 0o777 for each in place.folder.iterdir()} == {0o600}
    assert place.folder.stat().st_mode & 0o777 == 0o700
    assert "Exported 20 events" in said

    code, _, said = await place.export("--check")
    assert (code, said) == (0, "All 1 files are as they were exported.\n")


async def test_parquet_and_a_range(place: Place) -> None:
    code, _, said = await place.export("--format", "parquet", "--from", "5", "--to", "9")
    assert code == 0, said
    rows = rows_in(place.folder, place.names())
    assert [row["position"] for row in rows] == [5, 6, 7, 8, 9]
    assert rows[0]["data"]["email"].endswith("@example.com")
    assert is_as_told(place)


async def test_the_rights_of_the_relay_are_enough(place: Place) -> None:
    async with users_of(place.url) as users:
        code, _, said = await place.export(DATABASE_URL=users[RELAY])
        assert code == 0, said
    assert "c0@example.com" in (place.folder / place.names()[0]).read_text()


async def test_without_personal_data_no_master_key_is_needed(place: Place) -> None:
    options = "--without-personal-data", "--tenant", "default"
    code, _, said = await place.export(*options, MASTER_KEY="")
    assert code == 0, said
    assert "@example.com" not in (place.folder / place.names()[0]).read_text()
    manifest = place.manifest()
    assert (manifest["tenant"], manifest["personalData"]) == ("default", False)


async def test_killed_at_work_it_goes_on_and_makes_nothing_twice(place: Place) -> None:
    await append_many(place.postgres, 3 * CHUNK_POSITIONS)
    with running(place.home, "export", "events", "--workers", "1", **place.settings) as export:
        await until(lambda: place.folder.exists() and has_files(place, 1))
        export.process.kill()
        export.process.wait()
    assert place.manifest()["completedAt"] is None
    await until(lambda: not workers_in(place.home))
    (first, *_) = place.names()
    made_at = (place.folder / first).stat().st_mtime_ns
    (place.folder / ".part-1-1").write_text("left by one that died")
    (place.folder / "events-000000300001-000000300020.jsonl").write_text("not named yet")

    code, out, said = await place.export("--json", "--workers", "2")
    assert code == 0, said
    assert json.loads(out)["events"] == 3 * CHUNK_POSITIONS + CUSTOMERS
    assert (place.folder / first).stat().st_mtime_ns == made_at
    assert place.positions() == list(range(1, 3 * CHUNK_POSITIONS + CUSTOMERS + 1))
    assert is_as_told(place)
    assert sorted(each.name for each in place.folder.iterdir()) == [*place.names(), "manifest.json"]


async def test_what_comes_meanwhile_is_not_in_it(place: Place) -> None:
    await append_many(place.postgres, 2 * CHUNK_POSITIONS)
    with running(place.home, "export", "events", "--workers", "1", **place.settings) as export:
        await until(lambda: place.folder.exists() and has_files(place, 1))
        await append_many(place.postgres, 10)
        assert await asyncio.to_thread(export.process.wait, DEADLINE_SECONDS) == 0
    assert place.manifest()["toPosition"] == 2 * CHUNK_POSITIONS + CUSTOMERS
    code, _, said = await place.export()
    assert code == 0, said
    assert place.positions() == list(range(1, 2 * CHUNK_POSITIONS + CUSTOMERS + 1))


async def test_tampering_is_noticed(place: Place) -> None:
    await place.export()
    file = place.folder / place.names()[0]
    original = file.read_bytes()
    file.write_bytes(original.replace(b"c7@example.com", b"x7@example.com"))
    code, _, said = await place.export("--check")
    assert code == 1
    assert f"{file.name}: changed" in said
    code, _, said = await place.export()
    assert code == 1
    assert f"{file.name} is changed" in said

    file.write_bytes(original[:-1])
    code, out, _ = await place.export("--check", "--json")
    assert code == 1
    assert json.loads(out)["faults"] == [{"file": file.name, "fault": "of another size"}]

    file.unlink()
    (place.folder / "stranger").touch()
    code, _, said = await place.export("--check")
    assert code == 1
    assert f"{file.name}: missing" in said
    assert "stranger: no part of the export" in said
    assert (await place.export())[0] == 0
    assert file.read_bytes() == original


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--format", "parquet"], "--format"),
        (["--from", "2"], "--from"),
        (["--to", "3"], "--to"),
        (["--tenant", "default"], "--tenant"),
        (["--without-personal-data"], "--without-personal-data"),
    ],
)
async def test_other_options_are_refused(place: Place, options: list[str], named: str) -> None:
    await place.export()
    code, _, said = await place.export(*options)
    assert code == 2
    assert f"with another {named}: " in said


async def test_another_log_is_refused(place: Place) -> None:
    await place.export()
    await place.postgres.execute("UPDATE log.head SET epoch = 'other'")
    code, _, said = await place.export()
    assert code == 1
    assert "another log" in said


async def test_a_folder_that_holds_something_else_is_left_alone(place: Place) -> None:
    place.folder.mkdir()
    (place.folder / "events-1-2.jsonl").write_text("somebody's")
    code, _, said = await place.export()
    assert code == 2
    assert "is not empty" in said
    (place.folder / "manifest.json").write_text('{"name": "a web page"}')
    code, _, said = await place.export()
    assert code == 1
    assert "no manifest of an export" in said
    assert (place.folder / "events-1-2.jsonl").read_text() == "somebody's"


async def test_two_at_once_are_refused(place: Place) -> None:
    await append_many(place.postgres, 2 * CHUNK_POSITIONS)
    with running(place.home, "export", "events", "--workers", "1", **place.settings) as export:
        await until((place.folder / "manifest.json").exists)
        code, _, said = await place.export()
        assert code == 2
        assert "Another export is writing" in said
        assert await asyncio.to_thread(export.process.wait, DEADLINE_SECONDS) == 0
    assert is_as_told(place)


async def test_a_range_that_is_not_there_is_refused(place: Place) -> None:
    for options in (["--from", "21"], ["--to", "21"], ["--from", "9", "--to", "8"]):
        code, _, said = await place.export(*options)
        assert code == 2
        assert "the log ends at 20" in said
    assert not place.folder.exists() or not list(place.folder.iterdir())


async def test_where_nothing_can_be_written_it_says_so(place: Place) -> None:
    place.folder.write_text("a file")
    code, _, said = await place.export()
    assert (code, len(said.splitlines())) == (1, 1)
    assert "events cannot be used: " in said


async def test_a_disk_that_takes_no_more_is_told_and_leaves_a_sound_export(place: Place) -> None:
    """As a file that may not grow beyond a kilobyte: the system refuses the write alike."""
    done = await asyncio.to_thread(limited_to_a_kilobyte, place)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "events cannot be written: File too large." in done.stderr
    assert place.names() == []
    assert [each.name for each in place.folder.iterdir()] == ["manifest.json"]
    assert (await place.export())[0] == 0
    assert place.positions() == list(range(1, CUSTOMERS + 1))


def limited_to_a_kilobyte(place: Place) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-c", 'ulimit -f 1; exec "$@"', "bash", *PROGRAM, "export", "events"]
    return subprocess.run(
        command,
        cwd=place.home,
        env=environment(place.home, place.settings),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


async def test_what_is_damaged_is_told(place: Place) -> None:
    await place.postgres.execute(
        "UPDATE vault.customer_key SET wrapped = substr(wrapped, 1, 30)"
        " WHERE customer_id = (SELECT min(customer_id) FROM vault.customer_key)"
    )
    code, _, said = await place.export()
    assert code == 1
    assert "1 events are lost or damaged" in said
    assert sum("damaged" in line for line in lines_in(place.folder, place.names())) == 1


def has_files(place: Place, count: int) -> bool:
    manifest = place.folder / "manifest.json"
    return manifest.exists() and len(place.manifest()["files"]) >= count


def workers_in(home: Path) -> list[int]:
    """Processes that export, with this folder as their own; Linux only."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            is_worker = b"export-worker" in (process / "cmdline").read_bytes()
            if is_worker and (process / "cwd").readlink() == home:
                found.append(int(process.name))
    return found


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(POLL_SECONDS)
