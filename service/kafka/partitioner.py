"""Which partition a key belongs to: Kafka's default partitioner, murmur2 as in its Java client.

Invariant: every client in every language that leaves partitioning to Kafka's default agrees.
The algorithm is org.apache.kafka.common.utils.Utils.murmur2; the tests hold it against two others.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct

KEYS_REMEMBERED_MAX = 65_536

_SEED = 0x9747B28C
_M = 0x5BD1E995
_R = 24
_32_BITS = 0xFFFFFFFF
_31_BITS = 0x7FFFFFFF


@lru_cache(maxsize=64)
def _words(length: int) -> Struct:
    return Struct(f"<{length // 4}I")


def murmur2(data: bytes) -> int:
    """The 32-bit hash of `data`, unsigned."""
    hashed = _SEED ^ len(data)
    for word in _words(len(data)).unpack_from(data):
        mixed = word * _M & _32_BITS
        hashed = (hashed * _M ^ (mixed ^ mixed >> _R) * _M) & _32_BITS
    if rest := len(data) % 4:
        hashed = (hashed ^ int.from_bytes(data[-rest:], "little")) * _M & _32_BITS
    hashed = (hashed ^ hashed >> 13) * _M & _32_BITS
    return hashed ^ hashed >> 15


@lru_cache(maxsize=KEYS_REMEMBERED_MAX)
def partition_for(key: bytes, partitions: int) -> int:
    """The partition of a keyed record in a topic with so many partitions."""
    return (murmur2(key) & _31_BITS) % partitions
