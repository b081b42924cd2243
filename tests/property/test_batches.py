"""Batches of records are unpacked as aiokafka unpacks them, whatever the names of headers are.

Invariant: what is right is told by aiokafka's reader, and of names by the bytes that were packed.
"""

from __future__ import annotations

from typing import cast

import hypothesis.strategies as st
import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from hypothesis import given

from service.kafka.batches import Batches, _AnyNames
from service.kafka.tails import Message
from tests.support.batches import CODECS, Named, a_batch

STAMPED_ON_ARRIVAL = 0x08  # in the lower byte of the attributes
ATTRIBUTES_AT = 22
COUNT_AT = 60  # the lowest byte of how many records there are
SMALL = st.binary(max_size=300)
TIMES = st.integers(min_value=0, max_value=2**42)


def records(names: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[Named]]:
    headers = st.lists(st.tuples(names, st.none() | SMALL), max_size=3)
    each = st.builds(Named, st.none() | SMALL, st.none() | SMALL, headers, TIMES)
    return st.lists(each, min_size=1, max_size=5)


def unpacked(data: bytes) -> list[list[Message]]:
    batches, found = Batches(data), list[list[Message]]()
    while batches.has_next():
        batch = batches.next_batch()
        found.append(cast("list[Message]", list(batch)))
    return found


def told(message: Message) -> tuple[object, ...]:
    headers = [(name.encode(errors="surrogateescape"), each) for name, each in message.headers]
    return message.offset, message.timestamp, message.key, message.value, headers


@given(records(st.text(max_size=9).map(str.encode)), st.sampled_from([*CODECS]), st.booleans())
def test_names_that_are_text_make_no_difference(
    sent: list[Named], compression: str, stamped: bool
) -> None:
    data = a_batch(sent, compression)
    data[ATTRIBUTES_AT] |= STAMPED_ON_ARRIVAL * stamped
    theirs = [told(each) for each in DefaultRecordBatch(bytes(data))]
    assert [told(each) for each in _AnyNames(data)] == theirs
    assert [[told(each) for each in batch] for batch in unpacked(bytes(data * 2))] == [theirs] * 2


@given(records(SMALL), st.sampled_from([*CODECS]))
def test_names_that_are_none_keep_their_bytes(sent: list[Named], compression: str) -> None:
    (batch,) = unpacked(bytes(a_batch(sent, compression)))
    last = {each.offset: told(each) for each in batch}  # those before the bad one may come twice
    assert [last[offset] for offset in range(len(sent))] == [
        (offset, each.timestamp_ms, each.key, each.value, [*each.headers])
        for offset, each in enumerate(sent)
    ]


def test_a_batch_that_is_broken_stays_one() -> None:
    data = a_batch([Named(b"k", b"v", [(b"\xff", b"")])])
    data[COUNT_AT] = 2
    with pytest.raises(CorruptRecordException):
        unpacked(bytes(data))
