"""A partition as one file of Parquet, written and read by pyarrow, which is an optional extra.

Invariant: a file says of which log and of which positions it is, and has the columns of log.event
and a row for each position. In memory is one group of rows, bounded as in an export.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from service.errors import Corrupt
from service.log_archive.rows import CHUNK_EVENTS, COLUMNS, StoredRow
from service.log_export import ParquetGroups, Part

READ_BYTES = 1024 * 1024
FORM = 1  # of these files; another one would have another number

_KEY = b"customers.archive"
_FEW_VALUES = ["tenant", "type"]


class Identity(BaseModel):
    """Which events a file holds: positions `first` to `last` of the log with this epoch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    form: int = FORM
    epoch: str
    first: int
    last: int


class Whole(NamedTuple):
    """What a file is told by."""

    bytes: int
    sha256: str


class _Schema(Protocol):
    metadata: dict[bytes, bytes] | None


class _Column(Protocol):
    def to_pylist(self) -> list[object]: ...
    def cast(self, kind: object) -> _Column: ...


class _Batch(Protocol):
    def column(self, name: str) -> _Column: ...


class _File(Protocol):
    schema_arrow: _Schema

    def iter_batches(self, batch_size: int, columns: list[str]) -> Iterator[_Batch]: ...


def file_name(first: int, last: int) -> str:
    """Names sort as positions do."""
    return f"log-{first:012d}-{last:012d}.parquet"


def hash_of(path: Path) -> Whole:
    """Raises OSError."""
    hashed, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while data := file.read(READ_BYTES):
            hashed.update(data)
            size += len(data)
    return Whole(size, hashed.hexdigest())


def read_identity(path: Path) -> Identity:
    """Raises Corrupt where it is no file of an archive, or not a whole one; OSError."""
    metadata = _opened(path).schema_arrow.metadata or {}
    try:
        identity = Identity.model_validate_json(metadata.get(_KEY, b""))
    except ValidationError:
        raise Corrupt(f"{path} is no archive of a log") from None
    if identity.form != FORM:
        raise Corrupt(f"{path} was written by a newer release")
    return identity


def read_rows(path: Path) -> Iterator[list[StoredRow]]:
    """All rows, in the order in which they lie there, some at a time. Raises Corrupt, OSError."""
    import pyarrow as pa

    file = _opened(path)
    try:
        for batch in file.iter_batches(batch_size=CHUNK_EVENTS, columns=list(COLUMNS)):
            columns = [batch.column(name).to_pylist() for name in COLUMNS[:-1]]
            times = batch.column("recorded_at").cast(pa.int64()).to_pylist()
            yield [_row(values) for values in zip(*columns, times, strict=True)]
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise Corrupt(f"{path} is damaged: it cannot be read to its end") from error


def _row(values: tuple[object, ...]) -> StoredRow:
    row = StoredRow._make(values)
    return row._replace(id=UUID(bytes=cast("bytes", values[1])))


def _opened(path: Path) -> _File:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return cast("_File", parquet.ParquetFile(path))
    except (pa.ArrowException, ValueError) as error:
        raise Corrupt(f"{path} is damaged, or no file of Parquet") from error


class RowFile:
    """Writes rows into one part."""

    def __init__(self, part: Part, identity: Identity) -> None:
        self._groups = ParquetGroups(part, _schema(identity), _FEW_VALUES)

    def write(self, rows: Sequence[StoredRow]) -> None:
        for row in rows:
            size = len(row.data) + len(row.sealed or b"") + len(row.meta)
            self._groups.add((row.position, row.id.bytes, *row[2:]), size)

    def end(self) -> None:
        """Everything is in the part now."""
        self._groups.end()


def _schema(identity: Identity) -> object:
    import pyarrow as pa

    kinds = {
        "position": pa.int64(),
        "id": pa.binary(16),
        "version": pa.int64(),
        "schema_version": pa.int16(),
        "sealed": pa.binary(),
        "recorded_at": pa.timestamp("ms", tz="UTC"),
    }
    fields = [
        pa.field(name, kinds.get(name, pa.string()), nullable=name == "sealed") for name in COLUMNS
    ]
    metadata = {_KEY: identity.model_dump_json().encode()}
    return cast("object", pa.schema(fields, metadata=metadata))
