"""The master key: made once, read by every role, and never replaced while anything needs it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from service.errors import ConfigurationError
from service.master_key import (
    KeySource,
    MasterKey,
    WrappingKey,
    check_master_key,
    lock_master_key,
    provide_master_key,
    require_master_key,
)
from service.master_key.provide import SQL
from service.postgres import Postgres
from service.token_keys import TokenKeys
from service.tokens import Tokens
from tests.support.topics import eventually

FORGET = "DELETE FROM access.master_key"
LOCK_WAITS = """
SELECT count(*) FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND datname = current_database()
"""
MAKERS, MAKE_ATTEMPTS = 8, 10
KILLED_WRITE = """
import os, signal, sys
from pathlib import Path
from service.master_key import KeySource
source = KeySource(Path(sys.argv[1]))
setattr(os, sys.argv[2], lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
key = source.read()
source.create() if key is None else source.replace(key)
"""


@pytest.fixture
async def postgres(database: str) -> AsyncIterator[Postgres]:
    async with Postgres.connect(database) as postgres:
        yield postgres


async def make_token(postgres: Postgres, source: KeySource) -> None:
    tokens = Tokens(postgres, TokenKeys(require_master_key(source)))
    await tokens.create("acme", ["admin"], currency="EUR")


async def test_the_master_key_is_made_once_and_then_only_read(
    postgres: Postgres, tmp_path: Path
) -> None:
    source = KeySource(tmp_path / "deep" / "master.key")
    with pytest.raises(ConfigurationError, match="There is no master key in"):
        require_master_key(source)
    key = await provide_master_key(postgres, source)
    assert await provide_master_key(postgres, source) == key == require_master_key(source)
    assert await check_master_key(postgres, key, source)
    assert source.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in source.path.parent.iterdir()] == ["master.key"]


@pytest.mark.parametrize("exist", [True, False], ids=["two keys", "no key yet"])
async def test_of_two_first_starts_with_keys_of_their_own_one_is_refused(
    exist: bool, postgres: Postgres, tmp_path: Path
) -> None:
    sources = [KeySource(tmp_path / "one.key"), KeySource(tmp_path / "two.key")]
    for source in sources if exist else ():
        source.create()
    found = await asyncio.gather(
        *(provide_master_key(postgres, source) for source in sources), return_exceptions=True
    )
    keys = [each for each in found if isinstance(each, MasterKey)]
    refused = [each for each in found if isinstance(each, ConfigurationError)]
    assert (len(keys), len(refused)) == (1, 1)
    assert await check_master_key(postgres, keys[0], sources[0])
    assert [source.path.exists() for source in sources].count(True) == (2 if exist else 1)


async def test_of_two_first_starts_with_one_key_file_both_have_its_key(
    postgres: Postgres, tmp_path: Path
) -> None:
    """The one behind looks for the key when the one before has made it."""
    source = KeySource(tmp_path / "master.key")
    async with postgres.transaction() as first:
        await lock_master_key(first)
        second = asyncio.create_task(provide_master_key(postgres, source))
        await eventually(lambda: waits(postgres))
        key = source.create()
        await first.execute(SQL["remember_key"], key.fingerprint)
    assert await second == key


async def test_many_first_starts_with_one_key_file_agree(
    postgres: Postgres, tmp_path: Path
) -> None:
    for attempt in range(MAKE_ATTEMPTS):
        await postgres.execute(FORGET)
        source = KeySource(tmp_path / f"{attempt}.key")
        found = await asyncio.gather(*(provide_master_key(postgres, source) for _ in range(MAKERS)))
        assert {each.text() for each in found} == {source.create().text()}


async def waits(postgres: Postgres) -> bool:
    return await postgres.fetch_one(int, LOCK_WAITS) == 1


async def test_a_lost_key_is_replaced_only_where_it_is_forgotten_and_nothing_needs_it(
    postgres: Postgres, tmp_path: Path
) -> None:
    source = KeySource(tmp_path / "master.key")
    first = await provide_master_key(postgres, source)
    source.path.unlink()
    with pytest.raises(ConfigurationError, match="was used with one"):
        await provide_master_key(postgres, source)
    await postgres.execute(FORGET)
    second = await provide_master_key(postgres, source)
    assert second != first
    assert await check_master_key(postgres, second, source)
    await make_token(postgres, source)
    source.path.unlink()
    await postgres.execute(FORGET)
    with pytest.raises(ConfigurationError, match="would make what is stored unreadable"):
        await provide_master_key(postgres, source)
    assert not source.path.exists()


async def test_another_key_is_refused(postgres: Postgres, tmp_path: Path) -> None:
    source, other = KeySource(tmp_path / "one.key"), KeySource(tmp_path / "two.key")
    key = other.create()
    assert not await check_master_key(postgres, key, other)
    await provide_master_key(postgres, source)
    await make_token(postgres, source)
    with pytest.raises(ConfigurationError, match="is not the one this database was used with"):
        await provide_master_key(postgres, other)
    with pytest.raises(ConfigurationError, match="is not the one this database was used with"):
        await check_master_key(postgres, key, other)


@pytest.mark.parametrize("text", ["", "short", "A" * 42 + "==", "*" * 44, "A" * 88, "\xff"])
def test_a_damaged_key_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigurationError, match="is damaged: it must be 32 bytes in base64"):
        KeySource(path).read()
    if text:
        with pytest.raises(ConfigurationError) as raised:
            KeySource(path, text).read()
        assert text not in str(raised.value)


def test_two_that_make_the_key_at_once_agree(tmp_path: Path) -> None:
    source = KeySource(tmp_path / "master.key")
    assert source.create() == source.create()


def test_many_that_make_the_key_at_once_agree(tmp_path: Path) -> None:
    """Each may find another's file half-written beside the key."""
    for attempt in range(MAKE_ATTEMPTS):
        source = KeySource(tmp_path / f"{attempt}" / "master.key")
        start = Barrier(MAKERS)

        def make(source: KeySource = source, start: Barrier = start) -> MasterKey:
            start.wait()
            return source.create()

        with ThreadPoolExecutor(MAKERS) as makers:
            made = [makers.submit(make) for _ in range(MAKERS)]
        assert {each.result().text() for each in made} == {source.create().text()}
        assert names(source) == {"master.key"}


@pytest.mark.parametrize("moment", ["fsync", "chown", "replace", "link"])
def test_a_killed_write_leaves_nothing_that_the_next_one_does_not_remove(
    moment: str, tmp_path: Path
) -> None:
    source = KeySource(tmp_path / "master.key")
    if moment != "link":
        source.create()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_WRITE, str(source.path), moment], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    left = source.path.with_name("master.key.new")
    assert names(source) == ({left.name} if moment == "link" else {left.name, "master.key"})
    assert left.stat().st_mode & 0o777 == 0o600
    key = source.create()
    if moment != "link":
        source.replace(key)
    assert names(source) == {"master.key"}
    assert source.read() == key
    assert source.path.stat().st_mode & 0o777 == 0o600


def names(source: KeySource) -> set[str]:
    return {path.name for path in source.path.parent.iterdir()}


def test_subkeys_differ_by_purpose_and_tell_nothing(tmp_path: Path) -> None:
    key = KeySource(tmp_path / "master.key").create()
    subkeys = {key.subkey("token-hash"), key.subkey("cursor"), key.fingerprint}
    assert len(subkeys) == 3
    assert {len(subkey) for subkey in subkeys} == {32}
    assert "secret" not in repr(key)


def test_a_key_behind_a_link_is_replaced_where_it_lies(tmp_path: Path) -> None:
    real, link = tmp_path / "secrets" / "real.key", tmp_path / "master.key"
    old = KeySource(real).create()
    link.symlink_to(real)
    new = old.with_wrapping(WrappingKey(b"n" * 32))
    KeySource(link).replace(new)
    assert link.is_symlink()
    assert KeySource(real).read() == new
