"""An archived partition back into the log, from its file.

Invariants: only the very file that was archived is taken, told by its SHA-256, and nothing changes
before what was read from it is compared with it; the table is filled apart, so nobody waits for
that, and attached as a partition is taken away: in a transaction that waits for upkeep.LOCK_MS.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from service.errors import ConfigurationError, Corrupt
from service.event_log import EventLog
from service.findings import Progress
from service.log_archive.files import Identity, hash_of, read_rows
from service.log_archive.rows import COLUMNS
from service.log_archive.upkeep import (
    SQL,
    Archived,
    Held,
    attempted,
    drop_unneeded_snapshots,
    table_of,
)
from service.log_archive.writing import check_identity, compare
from service.postgres import Postgres, Transaction

CHUNKS_AT_ONCE = 2  # held in memory, and copied in one transaction


async def attach_file(
    postgres: Postgres, path: Path, archived: Archived, is_held: Held, told: Progress
) -> None:
    """Attach the newest archived partition. Raises Corrupt where the file is not what was archived;
    ConfigurationError where it is not the newest; Unavailable; OSError, of the file."""
    _check(path, archived)
    await postgres.execute(SQL["make_detached"], archived.name)
    await _fill(postgres, path, archived, told)
    bounds = archived.first, archived.last
    await postgres.execute(SQL["finish_detached"], archived.name, *bounds)
    await compare(postgres, path, table_of(archived.name), bounds, told)
    _check(path, archived)
    await _attach(postgres, archived, is_held)
    await drop_unneeded_snapshots(postgres, await EventLog(postgres).archived_to())


def _check(path: Path, archived: Archived) -> None:
    whole = hash_of(path)
    if whole != (archived.file_bytes, archived.sha256):
        raise Corrupt(
            f"{path} is not the file that was archived: its SHA-256 is {whole.sha256}, and not"
            f" {archived.sha256}"
        )
    check_identity(path, Identity(epoch=archived.epoch, first=archived.first, last=archived.last))


async def _fill(postgres: Postgres, path: Path, archived: Archived, told: Progress) -> None:
    told.begin("copy", archived.events)
    chunks = read_rows(path)
    while group := list(islice(chunks, CHUNKS_AT_ONCE)):
        async with postgres.transaction() as transaction:
            for chunk in group:
                rows = [row.columns() for row in chunk]
                await transaction.copy_in("log", archived.name, COLUMNS, rows)
                told.advance(len(rows))


async def _attach(postgres: Postgres, archived: Archived, is_held: Held) -> None:
    async def attempt(transaction: Transaction) -> None:
        places = archived.first, archived.last
        await transaction.execute(SQL["attach_partition"], archived.name, *places)
        if not await transaction.fetch(int, SQL["remove_archived"], archived.first):
            raise ConfigurationError("A newer partition has to be attached first.")

    await attempted(postgres, is_held, attempt)
