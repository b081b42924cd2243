"""The embedded PostgreSQL: one folder, one owner, whatever happened to the last one."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from service.embedded import EmbeddedError, EmbeddedPostgres
from service.embedded.child_process import until

END_TIMEOUT_SECONDS = 10.0
OWNER = """
import asyncio, pathlib, sys
from service.embedded import EmbeddedPostgres

async def own() -> None:
    postgres = EmbeddedPostgres(pathlib.Path(sys.argv[1]), settings={"fsync": "off"})
    await postgres.start()
    print(postgres.process_id, flush=True)
    await asyncio.Event().wait()

asyncio.run(own())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One data folder for all tests of the embedded PostgreSQL: a new cluster takes a second."""
    return tmp_path_factory.mktemp("a folder") / "data"


@pytest.fixture
async def embedded(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(folder)
    yield postgres
    await postgres.stop()


async def test_embedded_data_survives_a_stop(embedded: EmbeddedPostgres) -> None:
    dsn = await embedded.start()
    await _execute(dsn, "CREATE TABLE kept (id int); INSERT INTO kept VALUES (7)")
    await embedded.stop()
    await embedded.stop()
    dsn = await embedded.start()
    assert await _fetch(dsn, "SELECT id FROM kept") == 7
    assert await _fetch(dsn, "SHOW fsync") == "on"
    assert await _fetch(dsn, "SHOW listen_addresses") == ""


async def test_a_folder_in_use_is_refused(embedded: EmbeddedPostgres, folder: Path) -> None:
    await embedded.start()
    with pytest.raises(EmbeddedError, match=f"in use by another .* .process {os.getpid()}."):
        await EmbeddedPostgres(folder).start()
    assert await _fetch(embedded.dsn(), "SELECT 1") == 1


async def test_what_a_killed_owner_left_is_cleared(
    embedded: EmbeddedPostgres, folder: Path
) -> None:
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(folder), stdout=asyncio.subprocess.PIPE
    )
    assert owner.stdout is not None
    server = int(await owner.stdout.readline())
    owner.send_signal(signal.SIGKILL)
    await owner.wait()
    dsn = await embedded.start()
    assert embedded.process_id != server
    assert await _fetch(dsn, "SELECT 1") == 1


async def test_a_server_left_running_is_replaced(embedded: EmbeddedPostgres, folder: Path) -> None:
    left = EmbeddedPostgres(folder)
    await left.start()
    process, left._process = left._process, None
    await left.stop()  # gives the folder up, and leaves its server alone
    assert process is not None
    assert process.poll() is None
    dsn = await embedded.start()
    assert process.poll() is not None
    assert await _fetch(dsn, "SELECT 1") == 1


async def test_a_stale_pid_file_of_another_program_is_ignored(
    embedded: EmbeddedPostgres, folder: Path
) -> None:
    await embedded.start()
    pid_file = folder / "cluster" / "postmaster.pid"
    text = pid_file.read_text().replace(str(embedded.process_id), str(os.getpid()), 1)
    os.kill(embedded.process_id, signal.SIGKILL)
    await embedded.stop()
    pid_file.write_text(text)
    assert await _fetch(await embedded.start(), "SELECT 1") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends orphans on Linux only")
async def test_a_killed_owner_takes_its_server_along(folder: Path) -> None:
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(folder), stdout=asyncio.subprocess.PIPE
    )
    assert owner.stdout is not None
    await owner.stdout.readline()
    owner.send_signal(signal.SIGKILL)
    await owner.wait()
    pid_file = folder / "cluster" / "postmaster.pid"
    assert await until(lambda: not pid_file.exists(), END_TIMEOUT_SECONDS)


async def test_another_major_version_is_refused(tmp_path: Path) -> None:
    cluster = tmp_path / "cluster"
    cluster.mkdir()
    (cluster / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedError, match="was made by PostgreSQL 16"):
        await EmbeddedPostgres(tmp_path).start()


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedError, match="cannot be used: Not a directory"):
        await EmbeddedPostgres(tmp_path / "file" / "data").start()


async def test_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / ("long" * 25))
    dsn = await postgres.start()
    assert str(tmp_path) not in dsn
    assert await _fetch(dsn, "SELECT 1") == 1
    await postgres.stop()
    with pytest.raises(FileNotFoundError):
        await _fetch(dsn, "SELECT 1")


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _fetch(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()
