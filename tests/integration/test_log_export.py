"""Ranges of the log in files: each event as the feed shows it, in both formats."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from service.customer import AddTags, CreateCustomer
from service.errors import Corrupt
from service.event_log import EventLog
from service.identifiers import CustomerId, new_customer_id
from service.log_export import Written
from service.postgres import Postgres
from service.queries.feed import _line
from tests.servers.databases import Databases
from tests.servers.server import Handle
from tests.support.exporting import Line, export, lines_in, rows_in
from tests.support.logs import a_request
from tests.support.sealing import KEY_DAMAGES
from tests.support.vaults import VAULT
from tests.support.verifying import System, a_system_alone

ODD = 'back\\slash "quoted" tab\t line\n feed\r \u2028 zero\x1f é 漢 \U0001f600 \\N \\n \\\\'
WHOLE = ("jsonl", lines_in), ("parquet", rows_in)
Read = Callable[[Path, list[str]], list[Line]]


@pytest.fixture(scope="module")
async def system(databases: Databases, kafka_server: Handle) -> AsyncIterator[System]:
    async with a_system_alone(databases, kafka_server) as made:
        await made.traffic(3)
        yield made


@pytest.fixture
def postgres(system: System) -> Postgres:
    return system.postgres


def names(written: Written) -> list[str]:
    return [name for name, _ in written.parts]


async def as_the_feed_has_it(postgres: Postgres) -> list[Line]:
    """Beside the tenant, which the feed's caller knows."""
    log = EventLog(postgres, VAULT)
    head = await log.head()
    events = [event for page in [await log.page(0, limit=10_000)] for event in page]
    lines = [json.loads(_line(event, head.epoch).text) for event in events]
    assert len(lines) == head.position
    return [{**line, "tenant": event.tenant} for line, event in zip(lines, events, strict=True)]


async def odd_customer(system: System, tenant: str = "default") -> CustomerId:
    who = new_customer_id()
    creation = CreateCustomer(
        id=who,
        email=f"{who}@example.com",
        first_name="Zoë\\",
        metadata={"odd": ODD},
        tags=("a\\b", 'q"q'),
    )
    await system.handler.handle(a_request(who, creation, tenant=tenant))
    await system.handler.handle(a_request(who, AddTags(("x\\y", "é")), tenant=tenant))
    return who


@pytest.mark.parametrize(("format_", "read"), WHOLE)
async def test_each_event_is_as_the_feed_shows_it(
    system: System, postgres: Postgres, tmp_path: Path, format_: str, read: Read
) -> None:
    await odd_customer(system)
    written = await export(postgres, tmp_path, format_=format_)
    lines = read(tmp_path, names(written))
    assert lines == await as_the_feed_has_it(postgres)
    assert sum("forgotten" in line for line in lines) > 0
    odd = [line["data"]["metadata"] for line in lines if "metadata" in line["data"]]
    assert {"odd": ODD} in odd


@pytest.mark.parametrize(("format_", "read"), WHOLE)
async def test_of_one_tenant_there_is_nothing_of_another(
    postgres: Postgres, tmp_path: Path, format_: str, read: Read
) -> None:
    written = await export(postgres, tmp_path, format_=format_, tenant="other")
    all_lines = await as_the_feed_has_it(postgres)
    others = [line for line in all_lines if line["tenant"] == "other"]
    assert 0 < len(others) < len(all_lines)
    assert read(tmp_path, names(written)) == others

    ((name, file),) = (await export(postgres, tmp_path, format_=format_, tenant="nobody")).parts
    assert (file.events, file.first_position, file.last_position) == (0, None, None)
    assert read(tmp_path, [name]) == []


async def test_a_deleted_customer_is_nobody(system: System, tmp_path: Path) -> None:
    who = await odd_customer(system)
    (tmp_path / "before").mkdir()
    (tmp_path / "after").mkdir()
    before = await export(system.postgres, tmp_path / "before")
    await system.delete(who)
    after = await export(system.postgres, tmp_path / "after")
    assert f"{who}@example.com" in (tmp_path / "before" / names(before)[0]).read_text()
    text = (tmp_path / "after" / names(after)[0]).read_text()
    assert f"{who}@example.com" not in text
    assert "Zo\\u00eb" not in text
    lines = [
        line for line in lines_in(tmp_path / "after", names(after)) if line["customerId"] == who
    ]
    assert [line.get("forgotten") for line in lines] == [True, None, None]
    assert lines[0]["data"]["tags"] == ["a\\b", 'q"q']


async def test_without_personal_data_no_key_is_asked_for(system: System, tmp_path: Path) -> None:
    who = await odd_customer(system)
    written = await export(system.postgres, tmp_path, personal_data=False)
    text = (tmp_path / names(written)[0]).read_text()
    for secret in ("@example.com", "Zoë", "slash", "Jane", "456 Oak Ave"):
        assert secret not in text
    lines = lines_in(tmp_path, names(written))
    created, tagged = [line for line in lines if line["customerId"] == who]
    assert created["data"]["email"] == ""
    assert "forgotten" not in created
    assert tagged["data"] == {"tags": ["x\\y", "é"]}


@pytest.mark.parametrize("damage", [*KEY_DAMAGES.values(), "DELETE FROM vault.customer_key"])
async def test_what_does_not_open_is_marked_and_counted(
    system: System, tmp_path: Path, damage: str
) -> None:
    who = await odd_customer(system)
    async with system.mended("vault.customer_key"):
        await system.damage(f"{damage} WHERE customer_id = '{who}'")
        ((name, file),) = (await export(system.postgres, tmp_path)).parts
        assert lines_in(tmp_path, [name]) == await as_the_feed_has_it(system.postgres)
    assert file.damaged == 1
    (created, _) = [line for line in lines_in(tmp_path, [name]) if line["customerId"] == who]
    assert (created["data"], created["damaged"]) == ({}, True)


@pytest.mark.parametrize(("format_", "read"), WHOLE)
async def test_large_ranges_are_cut_into_files_that_cover_them(
    system: System, tmp_path: Path, format_: str, read: Read
) -> None:
    """COPY's pieces are cut small, so that the bound is met within a few events."""
    pieces: list[int] = []
    whole = system.postgres.copy_out

    class InPieces(Postgres):
        async def copy_out(
            self, take: Callable[[bytes], None], sql: str, arguments: Mapping[str, str]
        ) -> None:
            def cut(piece: bytes) -> None:
                for start in range(0, len(piece), 700):
                    pieces.append(start)
                    take(piece[start : start + 700])

            await whole(cut, sql, arguments)

    written = await export(
        InPieces(system.postgres._pool), tmp_path, format_=format_, first=3, file_bytes_max=1
    )
    head = (await EventLog(system.postgres).head()).position
    files = [file for _, file in written.parts]
    assert len(pieces) > len(files) > 1
    assert files[0].from_position == 3
    assert files[-1].to_position == head
    assert [each.from_position for each in files[1:]] == [
        each.to_position + 1 for each in files[:-1]
    ]
    assert read(tmp_path, names(written)) == (await as_the_feed_has_it(system.postgres))[2:]
    for name, file in written.parts:
        data = (tmp_path / name).read_bytes()
        assert (file.bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
        assert file.events == file.to_position - file.from_position + 1


async def test_a_hole_in_the_log_is_an_error_and_leaves_no_file(
    system: System, tmp_path: Path
) -> None:
    async with system.mended("log.event"):
        await system.damage("DELETE FROM log.event WHERE position = 5")
        with pytest.raises(Corrupt, match="hole"):
            await export(system.postgres, tmp_path)
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - pathlib's is refused in a coroutine
