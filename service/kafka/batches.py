"""Batches of records as a broker sends them, where a header's name is no text.

A broker lets any bytes be the name of a header, and gives them to everybody who reads. aiokafka
takes them for UTF-8 while it unpacks a batch, and where they are none it throws: the batch comes
again and again, and with it nothing behind it. Here such a batch is unpacked once more.
Invariants: all others are unpacked by aiokafka alone. A name that is no UTF-8 keeps its bytes, as
lone surrogates (PEP 383), so it is never taken for one that is; nobody can send it on as it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, cast

from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecord, _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint_py
from typing_extensions import override

# Of every batch, whatever its version: where it begins, and how many bytes come behind that number.
# https://kafka.apache.org/documentation/#recordbatch
_LENGTH_AT = slice(8, 12)
_HEAD_BYTES = 12


class _Packed(Iterator[object], Protocol):
    """A batch of aiokafka's."""


class _Unread(Protocol):
    def has_next(self) -> bool: ...
    def next_batch(self) -> _Packed: ...
    def size_in_bytes(self) -> int: ...


class Batches:
    """In the place of aiokafka's MemoryRecords: what one answer says of one partition."""

    def __init__(self, data: bytes) -> None:
        self._unread = cast("_Unread", MemoryRecords(data))
        self._data = memoryview(data)  # from the next batch on

    def has_next(self) -> bool:
        return self._unread.has_next()

    def size_in_bytes(self) -> int:
        return self._unread.size_in_bytes()

    def next_batch(self) -> Batch:
        end = _HEAD_BYTES + int.from_bytes(self._data[_LENGTH_AT])
        data, self._data = self._data[:end], self._data[end:]
        return Batch(self._unread.next_batch(), data)


class Batch:
    """In the place of aiokafka's batch, of which everything else is asked."""

    def __init__(self, packed: _Packed, data: memoryview) -> None:
        self._packed = packed
        self._data = data

    def __getattr__(self, name: str) -> object:
        return getattr(self._packed, name)

    def __iter__(self) -> Iterator[object]:
        """From the first record on once more where a name is no text; the client passes over what
        it has given out."""
        try:
            yield from self._packed
        except (UnicodeDecodeError, CorruptRecordException) as error:
            # Where aiokafka is not compiled, the one is the cause of the other.
            if not isinstance(error.__cause__ or error, UnicodeDecodeError):
                raise
        else:
            return
        yield from _AnyNames(self._data)

    def __next__(self) -> object:
        return next(self._packed)


class _AnyNames(_DefaultRecordBatchPy):  # type: ignore[misc, no-any-unimported]
    """aiokafka's own, in Python, but for the record. https://kafka.apache.org/documentation/#record"""

    _pos: int  # of the next byte, in what was decompressed

    @override
    def _read_msg(self) -> object:
        size = self._number()
        end = self._pos + size
        self._pos += 1  # attributes, of which there are none yet
        timestamp = self.first_timestamp + self._number()
        if self.timestamp_type == self.LOG_APPEND_TIME:
            timestamp = self.max_timestamp
        offset = self.base_offset + self._number()
        key, value = self._bytes(), self._bytes()
        headers = [(self._name(), self._bytes()) for _ in range(self._number())]
        if self._pos != end:
            raise CorruptRecordException("a record has another length than it says")
        return DefaultRecord(offset, timestamp, self.timestamp_type, key, value, headers)

    def _name(self) -> str:
        return (self._bytes() or b"").decode(errors="surrogateescape")

    def _bytes(self) -> bytes | None:
        size = self._number()
        if size < 0:
            return None
        self._pos += size
        if self._pos > len(self._buffer):
            raise CorruptRecordException("a record is cut off")
        return bytes(self._buffer[self._pos - size : self._pos])

    def _number(self) -> int:
        """By the reader in Python: the compiled one does not look where the bytes end."""
        try:
            number, self._pos = decode_varint_py(self._buffer, self._pos)
        except (IndexError, ValueError) as error:
            raise CorruptRecordException("a record is cut off") from error
        return cast("int", number)
