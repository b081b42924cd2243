"""A partition into its file, and the comparison of a file with a table.

Invariant: a file has its name only once it is whole and on the disk; before anything is taken away
it was read back, and every row of it compared with what the table holds.
"""

from __future__ import annotations

from pathlib import Path

from service.errors import Corrupt
from service.event_log import Head
from service.findings import Progress
from service.log_archive.files import Identity, RowFile, file_name, read_identity, read_rows
from service.log_archive.rows import CHUNK_EVENTS, StoredRow, digest
from service.log_archive.upkeep import LOG, SQL, Partition
from service.log_export import PREFIX, Part, sync_folder
from service.postgres import Postgres


async def write_file(
    postgres: Postgres, folder: Path, head: Head, partition: Partition, told: Progress
) -> Path:
    """The partition's file, which may be there already. Raises Corrupt where the log has a hole, or
    the file is another log's; Unavailable; OSError, of the folder."""
    path = folder / file_name(partition.first, partition.last)
    identity = Identity(epoch=head.epoch, first=partition.first, last=partition.last)
    if path.exists():
        check_identity(path, identity)
        return path
    _remove_leftovers(folder)
    part = Part(folder, partition.first)
    try:
        await _write(postgres, RowFile(part, identity), partition, told)
    except BaseException:
        part.abandon()
        raise
    part.end()
    (folder / part.name).replace(path)
    sync_folder(folder)
    return path


async def _write(postgres: Postgres, file: RowFile, partition: Partition, told: Progress) -> None:
    told.begin("write", partition.last - partition.first + 1)
    statement = SQL["rows"].replace("{table}", LOG)
    for first in range(partition.first, partition.last + 1, CHUNK_EVENTS):
        last = min(first + CHUNK_EVENTS - 1, partition.last)
        rows = await postgres.fetch(StoredRow, statement, first, last)
        if len(rows) != last - first + 1:
            raise Corrupt(f"the log has a hole between positions {first:,} and {last:,}")
        file.write(rows)
        told.advance(len(rows))
    file.end()


def check_identity(path: Path, wanted: Identity) -> None:
    """Raises Corrupt where the file is another's."""
    found = read_identity(path)
    if found != wanted:
        raise Corrupt(
            f"{path} holds positions {found.first:,} to {found.last:,} of the log with epoch"
            f" {found.epoch}, and not {wanted.first:,} to {wanted.last:,} of {wanted.epoch}"
        )


async def compare(
    postgres: Postgres, path: Path, table: str, partition: tuple[int, int], told: Progress
) -> None:
    """Read the file, and have the table say the same of each stretch of positions.

    Raises Corrupt where one of both lacks, doubles or changes anything.
    """
    first, last = partition
    told.begin("verify", last - first + 1)
    statement = SQL["digest"].replace("{table}", table)
    following = first
    for rows in read_rows(path):
        following = _following(path, rows, following)
        asked = rows[0].position, rows[-1].position
        ((count, said),) = await postgres.fetch(_said, statement, *asked)
        if (count, said) != (len(rows), digest(rows)):
            raise Corrupt(
                f"{path} and the database differ in positions {asked[0]:,} to {asked[1]:,}"
            )
        told.advance(len(rows))
    if following != last + 1:
        raise Corrupt(f"{path} ends before position {following:,}, and should at {last:,}")


def _following(path: Path, rows: list[StoredRow], following: int) -> int:
    """The position after these. Raises Corrupt where they are not the next ones, without a hole."""
    for place, row in enumerate(rows, start=following):
        if row.position != place:
            raise Corrupt(f"{path} has position {row.position:,} where {place:,} should be")
    return following + len(rows)


def _said(count: int, said: str) -> tuple[int, str]:
    return count, said


def _remove_leftovers(folder: Path) -> None:
    """Of a command that was killed: nothing else has such names."""
    for path in folder.glob(f"{PREFIX}*"):
        path.unlink()
