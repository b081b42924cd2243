"""Identifiers of events, one by one and many at once."""

from __future__ import annotations

from uuid import UUID

import hypothesis.strategies as st
import pytest
from hypothesis import given

from service.identifiers import event_id, event_ids_of

KEYS = st.lists(st.uuids() | st.integers(0, 31).map(lambda bit: UUID(int=15 << 4 * bit)))


@given(KEYS)
def test_many_at_once_are_shown_as_each_by_itself(keys: list[UUID]) -> None:
    assert event_ids_of(list(map(str, keys))) == list(map(event_id, keys))
    assert event_ids_of([key.hex for key in keys]) == list(map(event_id, keys))


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 1_000])
def test_any_number_of_them(count: int) -> None:
    keys = [UUID(int=(2**128 - 1) // (number + 1)) for number in range(count)]
    assert event_ids_of(list(map(str, keys))) == list(map(event_id, keys))


def test_an_identifier_is_a_typeid() -> None:
    example = UUID("01890a5d-ac96-774b-bcce-b302099a8057")  # of TypeID's specification
    assert event_id(example) == "evt_01h455vb4pex5vsknk084sn02q"
