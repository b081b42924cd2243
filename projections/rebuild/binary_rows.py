"""Rows in the binary form of PostgreSQL's COPY; pure.

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
from typing import TypeAlias

from service.errors import Corrupt

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
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# The first and the last moment of all stand for infinity, as with the driver, which live rows take.
_INFINITE: Mapping[int, int] = {
    (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND: -(2**63),
    (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND: 2**63 - 1,
}

Encode: TypeAlias = "Callable[[object], bytes]"


def text(value: object) -> bytes:
    if value is None:
        return _NULL
    assert isinstance(value, str)
    data = value.encode()
    return _LENGTH(len(data)) + data


def bigint(value: object) -> bytes:
    return _BIGINT(8, value)


def integer(value: object) -> bytes:
    return _INTEGER(4, value)


def boolean(value: object) -> bytes:
    return _TRUE if value else _FALSE


def timestamptz(value: object) -> bytes:
    if value is None:
        return _NULL
    assert isinstance(value, datetime)
    microseconds = (value - _EPOCH) // _MICROSECOND
    return _BIGINT(8, _INFINITE.get(microseconds, microseconds))


def ready(value: object) -> bytes:
    """Encoded before, because it goes into several tables."""
    assert isinstance(value, bytes)
    return value


def integers(values: Iterable[int]) -> bytes:
    """An array of 32-bit integers, without NULL among them."""
    numbers = array("i", list(values))
    count = len(numbers)
    if not count:
        return _LENGTH(12) + _ARRAY(0, 0, 0, 0, 0, _INT4)[12:]
    both = array("i", [4]) * (2 * count)  # each with its length before it
    both[1::2] = numbers
    if sys.byteorder == "little":
        both.byteswap()
    return _ARRAY(20 + 8 * count, 1, 0, _INT4, count, 1) + both.tobytes()


TYPES: Mapping[str, Encode] = {
    "text": text,
    "bigint": bigint,
    "integer": integer,
    "boolean": boolean,
    "timestamptz": timestamptz,
    "ready": ready,
}


def encoded(types: Sequence[str], rows: Iterable[tuple[object, ...]]) -> bytes:
    """What COPY reads. Raises Corrupt for a number that its column cannot hold."""
    start, encoders = _FIELDS(len(types)), [TYPES[each] for each in types]
    try:
        pieces = [
            b"".join([start, *[encode(value) for encode, value in zip(encoders, row, strict=True)]])
            for row in rows
        ]
    except struct.error as error:
        raise Corrupt("a number is too large for its column") from error
    return b"".join([START, *pieces, END])
