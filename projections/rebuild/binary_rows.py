"""Rows in the binary form of PostgreSQL's COPY.

Invariant: a value goes out as its column's type receives it, so the server parses nothing. The
form is that of https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format"; a type's own
is what its `…recv` function reads. The driver can do it too, in four times as long where there are
arrays, since it looks at each of their elements for more dimensions.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TypeAlias, cast

from service.errors import Corrupt

ROWS_AT_ONCE = 256

START = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # no flags, and no extension of the header
END = b"\xff\xff"

_NULL = b"\xff\xff\xff\xff"
_LENGTH = struct.Struct(">i").pack
_INTEGER = struct.Struct(">ii").pack
_BIGINT = struct.Struct(">iq").pack
_FIELDS = struct.Struct(">h").pack
_ARRAY = struct.Struct(">iiiiii").pack
_TRUE, _FALSE = b"\0\0\0\1\1", b"\0\0\0\1\0"
_INT4 = 23  # the type's number
_NO_INTEGERS = struct.pack(">iiii", 12, 0, 0, _INT4)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# The first and the last moment of all stand for infinity, as with the driver, which live rows take.
_INFINITE: Mapping[int, int] = {
    (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND: -(2**63),
    (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND: 2**63 - 1,
}

Encode: TypeAlias = Callable[[Sequence[object]], list[bytes]]
"""Of a column; each value with its length before it."""


def _text(values: Sequence[object]) -> list[bytes]:
    told = cast("Sequence[str | None]", values)
    return [
        _NULL if value is None else _LENGTH(len(data := value.encode())) + data for value in told
    ]


def _bigint(values: Sequence[object]) -> list[bytes]:
    return [_BIGINT(8, value) for value in values]


def _integer(values: Sequence[object]) -> list[bytes]:
    return [_INTEGER(4, value) for value in values]


def _boolean(values: Sequence[object]) -> list[bytes]:
    return [_TRUE if value else _FALSE for value in values]


def _timestamptz(values: Sequence[object]) -> list[bytes]:
    told = cast("Sequence[datetime | None]", values)
    return [_NULL if value is None else _moment(value) for value in told]


def _moment(time: datetime) -> bytes:
    microseconds = (time - _EPOCH) // _MICROSECOND
    return _BIGINT(8, _INFINITE.get(microseconds, microseconds))


def _ready(values: Sequence[object]) -> list[bytes]:
    """Encoded before, because it goes into several tables."""
    return cast("list[bytes]", values)


def integers(values: Iterable[int]) -> bytes:
    """An array of 32-bit integers, without NULL among them."""
    numbers = array("i", list(values))
    count = len(numbers)
    if not count:
        return _NO_INTEGERS
    both = array("i", [4]) * (2 * count)  # each with its length before it
    both[1::2] = numbers
    if sys.byteorder == "little":
        both.byteswap()
    return _ARRAY(20 + 8 * count, 1, 0, _INT4, count, 1) + both.tobytes()


TYPES: Mapping[str, Encode] = {
    "text": _text,
    "bigint": _bigint,
    "integer": _integer,
    "boolean": _boolean,
    "timestamptz": _timestamptz,
    "ready": _ready,
}


def encoded(types: Sequence[str], rows: Sequence[tuple[object, ...]]) -> list[bytes]:
    """What COPY reads, in pieces of a few rows each. Column by column, for a call for each value
    would take as long as the rest. Raises Corrupt for a number that its column cannot hold."""
    encoders, start = [TYPES[kind] for kind in types], _FIELDS(len(types))
    try:
        pieces = [
            _encoded(encoders, start, rows[first : first + ROWS_AT_ONCE])
            for first in range(0, len(rows), ROWS_AT_ONCE)
        ]
    except struct.error as error:
        raise Corrupt("a number is too large for its column") from error
    return [START, *pieces, END]


def _encoded(encoders: list[Encode], start: bytes, rows: Sequence[tuple[object, ...]]) -> bytes:
    columns = zip(*rows, strict=True)
    told = [encode(values) for encode, values in zip(encoders, columns, strict=True)]
    return b"".join(chain.from_iterable(zip([start] * len(rows), *told, strict=True)))
