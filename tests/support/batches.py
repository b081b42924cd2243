"""Batches of records whose headers have any bytes for names, as no client of ours makes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from typing_extensions import override

BATCH_BYTES_MAX = 900_000
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


class Named(NamedTuple):
    """A record with the names of its headers as bytes."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[bytes, bytes | None]] = ()
    timestamp_ms: int = 1_710_057_600_000


class _Name(str):
    """A name that is encoded to the bytes it was made of."""

    __slots__ = ("_data",)
    _data: bytes

    def __new__(cls, data: bytes) -> _Name:
        name = super().__new__(cls, data.decode(errors="replace"))
        name._data = data
        return name

    @override
    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return self._data


def a_batch(records: Sequence[Named], compression: str = "none") -> bytearray:
    return filled(records, compression).build()


def filled(records: Sequence[Named], compression: str) -> _DefaultRecordBatchBuilderPy:
    builder = _DefaultRecordBatchBuilderPy(2, CODECS[compression], 0, -1, -1, -1, BATCH_BYTES_MAX)
    for offset, each in enumerate(records):
        headers = [(_Name(name), value) for name, value in each.headers]
        assert builder.append(offset, each.timestamp_ms, each.key, each.value, headers)
    return builder


async def send_in_one_batch(
    servers: str, topic: str, records: Sequence[Named], *, partition: int, compression: str
) -> None:
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
        batch = producer.create_batch()
        batch._builder = filled(records, compression)
        batch._relative_offset = len(records)
        sent = await producer.send_batch(batch, topic, partition=partition)
        await sent
