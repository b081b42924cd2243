"""Events as rows of Parquet, written by pyarrow, which is an optional extra.

Invariant: the columns are COLUMNS, in this order, in every file, also in one without any row; what
is held in memory is bounded by GROUP_ROWS_MAX and GROUP_BYTES_MAX.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from io import RawIOBase
from typing import Protocol, cast

from typing_extensions import override

from service.errors import ConfigurationError
from service.identifiers import event_ids_of
from service.log_export.parts import Part
from service.log_export.rows import Row, actor_of, plain

GROUP_ROWS_MAX = 50_000
GROUP_BYTES_MAX = 32 * 1024 * 1024  # of their data
COMPRESSION = "zstd"

COLUMNS = (
    *("position", "epoch", "id", "type", "tenant", "customer_id", "version", "time"),
    *("actor_type", "actor_id", "actor_name", "data", "forgotten", "damaged"),
)
_FEW_VALUES = ["epoch", "type", "tenant", "actor_type", "actor_id", "actor_name"]
_Values = tuple[object, ...]


class _Field(Protocol):
    type: object


class _Schema(Protocol):
    def __iter__(self) -> Iterator[_Field]: ...


class _Writer(Protocol):
    def write_table(self, table: object) -> None: ...
    def close(self) -> None: ...


def require_parquet() -> None:
    """Raises ConfigurationError, which says what to install."""
    if find_spec("pyarrow") is None:
        raise ConfigurationError(
            "Parquet needs pyarrow, which is not installed:"
            " pip install 'customers-service[parquet]', or pip install pyarrow."
        )


class ParquetGroups:
    """Rows into one part, gathered into groups. `schema` is pyarrow's own."""

    def __init__(self, part: Part, schema: object, few_values: Sequence[str]) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        self._schema = cast("_Schema", schema)
        self._table = pa.Table.from_arrays
        self._array = pa.array
        self._writer = cast(
            "_Writer",
            parquet.ParquetWriter(
                _Stream(part), schema, compression=COMPRESSION, use_dictionary=list(few_values)
            ),
        )
        self._held: list[tuple[object, ...]] = []
        self._bytes = 0

    def add(self, values: tuple[object, ...], size: int) -> None:
        """One row, in the columns' order; `size`: about its bytes."""
        self._held.append(values)
        self._bytes += size
        if len(self._held) >= GROUP_ROWS_MAX or self._bytes >= GROUP_BYTES_MAX:
            self._flush()

    def end(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if not self._held:
            return
        columns = zip(*self._held, strict=True)
        arrays = [
            self._array(values, field.type)
            for values, field in zip(columns, self._schema, strict=True)
        ]
        self._writer.write_table(self._table(arrays, schema=self._schema))
        self._held, self._bytes = [], 0


class ParquetRows:
    """Writes into one part."""

    def __init__(self, part: Part, epoch: str) -> None:
        self._epoch = epoch
        self._groups = ParquetGroups(part, _schema(), _FEW_VALUES)

    def write(self, rows: list[Row]) -> None:
        ids = event_ids_of([row[1] for row in rows])
        for row, event_id in zip(rows, ids, strict=True):
            self._groups.add(_values(row, event_id, self._epoch), len(row[9]))

    def end(self) -> None:
        self._groups.end()


def _values(row: Row, event_id: str, epoch: str) -> _Values:
    (position, _, tenant, customer_id, version, kind, schema, time, actor,
     data, is_forgotten, is_damaged) = row  # fmt: skip
    return (
        *(int(position), epoch, event_id, f"{kind}.v{schema}", plain(tenant)),
        *(plain(customer_id), int(version), int(time)),
        *(*actor_of(actor), data, is_forgotten, is_damaged),
    )


def _schema() -> _Schema:
    import pyarrow as pa

    text, flag, number = pa.string(), pa.bool_(), pa.int64()
    kinds = {
        "position": number,
        "version": number,
        "time": pa.timestamp("ms", tz="UTC"),
        "forgotten": flag,
        "damaged": flag,
    }
    fields = [pa.field(name, kinds.get(name, text), name == "actor_name") for name in COLUMNS]
    return cast("_Schema", pa.schema(fields))


class _Stream(RawIOBase):
    """A part, as the library writes to it."""

    def __init__(self, part: Part) -> None:
        self._part = part

    @override
    def writable(self) -> bool:
        return True

    @override
    def tell(self) -> int:
        return self._part.bytes

    @override
    def write(self, data: object) -> int:
        return self._part.write(bytes(cast("bytes", data)))
