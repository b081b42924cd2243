"""Cursors: what is sealed comes back, and opens as nothing else."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from string import ascii_letters, digits

import hypothesis.strategies as st
import pytest
from hypothesis import given

from projections.rows import SORT_KEY_CHARACTERS_MAX
from service.errors import Rejected
from service.folding import sort_key
from service.list_request import CURSOR_CHARACTERS_MAX, SortKey
from service.queries.cursor import Cursors, Place

KEY = b"k" * 32
BINDING = b"tenant, filter and sort"
CURSORS = Cursors(KEY)
BY_NAME = (SortKey("lastName", is_descending=False), SortKey("createdAt", is_descending=True))
MOMENT = datetime(2024, 3, 10, 8, 0, 0, 123_000, tzinfo=UTC)
PLACE = Place(7, "cust_1", (sort_key("Zoë"), MOMENT))

TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=256).map(
    lambda text: sort_key(text)[:SORT_KEY_CHARACTERS_MAX]
)
TIMES = st.none() | st.integers(0, 10**12).map(lambda number: MOMENT + timedelta(0, 0, number))
NUMBERS = st.none() | st.integers(-(2**63), 2**63 - 1)


def assert_refused(cursor: str, *, by: Cursors = CURSORS, binding: bytes = BINDING) -> None:
    with pytest.raises(Rejected) as refused:
        by.open(cursor, BY_NAME, binding)
    assert [(fault.pointer, fault.code) for fault in refused.value.faults] == [
        ("cursor", "invalid_cursor")
    ]


@given(st.integers(1, 2**53), st.text("cust_0123", max_size=32), TEXTS, TIMES, NUMBERS)
def test_what_is_sealed_is_what_is_opened(
    page: int, customer_id: str, text: str | None, time: datetime | None, number: int | None
) -> None:
    sort = (*BY_NAME, SortKey("totalSpent", is_descending=True))
    place = Place(page, customer_id, (text, time, number))
    assert CURSORS.open(CURSORS.seal(place, sort, BINDING), sort, BINDING) == place


def test_the_same_place_has_the_same_cursor_in_every_process() -> None:
    cursor = CURSORS.seal(PLACE, BY_NAME, BINDING)
    assert Cursors(KEY).seal(PLACE, BY_NAME, BINDING) == cursor
    assert CURSORS.seal(PLACE._replace(id="cust_2"), BY_NAME, BINDING) != cursor


def test_it_opens_for_nothing_else() -> None:
    cursor = CURSORS.seal(PLACE, BY_NAME, BINDING)
    assert_refused(cursor, binding=BINDING + b" ")
    assert_refused(cursor, binding=b"")
    assert_refused(cursor, by=Cursors(b"another key, at least 16 bytes"))


def test_any_change_of_it_is_refused() -> None:
    cursor = CURSORS.seal(PLACE, BY_NAME, BINDING)
    for place, character in enumerate(cursor):
        other = "A" if character != "A" else "B"
        assert_refused(cursor[:place] + other + cursor[place + 1 :])
        assert_refused(cursor[:place])
        assert_refused(cursor[place + 1 :])


@pytest.mark.parametrize(
    "cursor",
    ["", "=", "x", "abcd", "é", "nonsense", "A" * 1_000, "😀", "\0", "null", "%", "-_-_", "a b"],
)
def test_other_text_is_refused(cursor: str) -> None:
    assert_refused(cursor)


def test_another_spelling_of_the_same_bytes_is_refused() -> None:
    spellings = set()
    for number in range(3):  # one of three lengths leaves bits over in the last character
        place = PLACE._replace(id="cust_1" + "0" * number)
        cursor = CURSORS.seal(place, BY_NAME, BINDING)
        sealed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        spellings |= {cursor + "=", cursor + "==", cursor + "\n", f" {cursor}", cursor + "!"}
        last = [cursor[:-1] + character for character in ascii_letters + digits]
        spellings |= {
            text
            for text in last
            if text != cursor and urlsafe_b64decode(text + "=" * (-len(text) % 4)) == sealed
        }
    assert len(spellings) > 15
    for spelling in spellings:
        assert_refused(spelling)


def test_it_tells_no_name() -> None:
    cursor = CURSORS.seal(PLACE, BY_NAME, BINDING)
    sealed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    assert b"zoe" not in sealed
    assert "Zoë".encode() not in sealed
    assert urlsafe_b64encode(b"zoe").decode().rstrip("=") not in cursor


@pytest.mark.parametrize("character", ["😀", "\U0010ffff", "ﷺ", "\x1f", '"', "É"])
@pytest.mark.parametrize("length", [149, 256])
def test_the_longest_are_no_longer_than_what_is_taken_back(character: str, length: int) -> None:
    sort = tuple(SortKey(name, is_descending=False) for name in ("email", "firstName", "lastName"))
    name = sort_key(character * length)[:SORT_KEY_CHARACTERS_MAX]
    email = sort_key("😀" * 254)[:SORT_KEY_CHARACTERS_MAX]
    cursor = CURSORS.seal(Place(2**53, "cust_" + "0" * 32, (email, name, name)), sort, BINDING)
    assert len(cursor) <= CURSOR_CHARACTERS_MAX
    assert CURSORS.open(cursor, sort, BINDING).keys == (email, name, name)
