"""One range of the log into files, by one statement, in bounded memory.

Invariant: every position of the range is in exactly one of the files; where all tenants are asked
for, a position without an event is an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from service.errors import Corrupt
from service.event_log import EventLog
from service.log_export.json_lines import JsonLines
from service.log_export.manifest import ExportedFile, Format, file_name
from service.log_export.parquet import ParquetRows
from service.log_export.parts import Part
from service.log_export.rows import Row, Rows
from service.postgres import Postgres, load_statements
from service.vault import Vault

FILE_BYTES_MAX = 256 * 1024 * 1024  # then another file goes on with the range

SQL = load_statements("service", "log_export.sql")


class Chunk(BaseModel):
    """What to export: positions `first` to `last`."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    format: Format
    epoch: str
    tenant: str | None
    personal_data: bool
    first: int
    last: int


class Written(BaseModel):
    """Files that are on the disk, by the names they have so far."""

    model_config = ConfigDict(frozen=True)

    parts: list[tuple[str, ExportedFile]]


class _Format(Protocol):
    def write(self, rows: list[Row]) -> None: ...

    def end(self) -> None:
        """Everything is to be in the part now."""


async def export_chunk(
    postgres: Postgres, vault: Vault | None, chunk: Chunk, *, file_bytes_max: int = FILE_BYTES_MAX
) -> Written:
    """Raises Unavailable; EventsArchived; Corrupt where the log has a hole; OSError."""
    statement = SQL["opened" if chunk.personal_data else "blanked"]
    files, log = _Files(chunk, Rows(vault), file_bytes_max), EventLog(postgres)
    try:
        # Before and after, else some may be missing: what leaves meanwhile, and what comes back.
        await log.require(chunk.first - 1)
        await postgres.copy_out(files.take, statement, _arguments(chunk))
        files.end()
        await log.require(chunk.first - 1)
    except BaseException:
        files.abandon()
        raise
    if chunk.tenant is None and files.events != chunk.last - chunk.first + 1:
        files.abandon()
        raise Corrupt(f"the log has a hole between positions {chunk.first} and {chunk.last}")
    return Written(parts=files.written)


def _arguments(chunk: Chunk) -> dict[str, str]:
    return {"first": str(chunk.first), "last": str(chunk.last), "tenant": chunk.tenant or ""}


class _Files:
    """Fed with COPY's pieces."""

    def __init__(self, chunk: Chunk, rows: Rows, file_bytes_max: int) -> None:
        self._chunk = chunk
        self._rows = rows
        self._file_bytes_max = file_bytes_max
        self._file = _File(chunk, chunk.first)
        self.written: list[tuple[str, ExportedFile]] = []

    @property
    def events(self) -> int:
        return sum(file.events for _, file in self.written)

    def take(self, piece: bytes) -> None:
        last = self._file.last_position
        if last is not None and self._file.part.bytes >= self._file_bytes_max:
            self.written.append(self._file.end(last))
            self._file = _File(self._chunk, last + 1)
        damaged_before = self._rows.damaged
        rows = list(self._rows.of(piece))
        if rows:
            self._file.write(rows, self._rows.damaged - damaged_before)

    def end(self) -> None:
        self.written.append(self._file.end(self._chunk.last))

    def abandon(self) -> None:
        self._file.part.abandon()
        for name, _ in self.written:
            (self._chunk.folder / name).unlink(missing_ok=True)


class _File:
    """The one that is being written, of positions from `first` on."""

    def __init__(self, chunk: Chunk, first: int) -> None:
        self._kind = chunk.format
        self._from = first
        self._events = self._damaged = 0
        self._first_position: int | None = None
        self.last_position: int | None = None
        self.part = Part(chunk.folder, first)
        kind = JsonLines if chunk.format == "jsonl" else ParquetRows
        self._format: _Format = kind(self.part, chunk.epoch)

    def write(self, rows: list[Row], damaged: int) -> None:
        self._format.write(rows)
        if self._first_position is None:
            self._first_position = int(rows[0][0])
        self.last_position = int(rows[-1][0])
        self._events += len(rows)
        self._damaged += damaged

    def end(self, last: int) -> tuple[str, ExportedFile]:
        """The name that it has, and what it will be."""
        self._format.end()
        self.part.end()
        return self.part.name, ExportedFile(
            name=file_name(self._kind, self._from, last),
            from_position=self._from,
            to_position=last,
            events=self._events,
            damaged=self._damaged,
            first_position=self._first_position,
            last_position=self.last_position,
            bytes=self.part.bytes,
            sha256=self.part.sha256,
        )
