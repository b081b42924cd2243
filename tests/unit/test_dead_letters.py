"""What a dead letter keeps of a record, and what of it is put back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from service.kafka import ConsumedRecord, Headers
from service.order_intake import Unusable
from service.order_intake.dead_letters import dead_letter, put_back, unsendable
from tests.support.orders import a_record

NOW = datetime(2024, 3, 10, 8, tzinfo=UTC)
UNUSABLE = Unusable("invalid_message", "value: missing")
NO_TEXT = "n\udcff"


def a_letter(headers: Headers) -> ConsumedRecord:
    letter = dead_letter(a_record(b"{}", headers), UNUSABLE, NOW)
    return ConsumedRecord("letters", 0, 0, letter.timestamp_ms, *letter[:3])


@pytest.mark.parametrize("name", ["", "a", "é€😀", "\x00"])
def test_a_name_that_is_text_is_kept(name: str) -> None:
    headers = [(name, b"\xff"), (name, b"")]
    assert unsendable(a_record(b"{}", headers)) is None
    assert list(a_letter(headers).headers[:2]) == headers
    assert put_back(a_letter(headers)).headers == headers


def test_a_name_that_is_no_text_is_told_and_not_put_back() -> None:
    headers = [("a", b"1"), (NO_TEXT, b"2"), ("a", b"3")]
    assert unsendable(a_record(b"{}", headers)) == Unusable(
        "invalid_message", "headers: a name that is not UTF-8"
    )
    letter = a_letter(headers)
    assert letter.headers[1] == ("dlq_header_n\\xff", b"2")
    assert put_back(letter).headers == [("a", b"1"), ("a", b"3")]


def test_what_somebody_else_put_among_the_dead_letters_is_put_back_as_far_as_it_can_be() -> None:
    assert put_back(a_record(b"{}", [(NO_TEXT, b""), ("a", b"1")])).headers == [("a", b"1")]


@pytest.mark.parametrize(("name", "count"), [("€", 334_000), ("\udcff", 250_000)])
def test_a_name_is_measured_in_the_bytes_that_are_sent(name: str, count: int) -> None:
    fits, does_not = a_letter([(name * (count // 2), b"")]), a_letter([(name * count, b"")])
    assert "dlq_left_out" not in dict(fits.headers)
    assert (does_not.key, does_not.value) == (None, None)
    assert dict(does_not.headers)["dlq_left_out"].isdigit()
