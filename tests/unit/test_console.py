"""How the console writes numbers, draws bars, tells changes, and seals a session."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from pydantic import JsonValue

from service.console import STATIC_FILES
from service.console.changes import change_rows
from service.console.charts import HEIGHT, chart
from service.console.formats import money, reason, seconds, words
from service.http.sessions import BEARER_CHARACTERS_MAX, COOKIE, SESSION_SECONDS, Sessions
from service.standing import Minute, Part

NOW = datetime(2024, 6, 15, 14, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (45_600, "USD", "456.00 USD"),
        (5, "USD", "0.05 USD"),
        (-123_456_789, "EUR", "−1,234,567.89 EUR"),
        (1_200, "JPY", "1,200 JPY"),
        (1_234, "BHD", "1.234 BHD"),
    ],
)
def test_an_amount_has_its_currencys_digits(amount: int, currency: str, text: str) -> None:
    assert money(amount, currency) == text


def test_an_orders_reason_tells_amounts_as_people_do() -> None:
    told = reason("captured 4500 less 500 refunded", "USD")
    assert told == "captured 45.00 USD less 5.00 USD refunded"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.0 s"), (0.44, "0.4 s"), (12, "12 s"), (200, "3 min 20 s"), (187_300, "2 d 4 h")],
)
def test_a_length_of_time_has_two_units(value: float, text: str) -> None:
    assert seconds(value) == text


def test_names_become_words() -> None:
    assert [words(each) for each in ("spentByCurrency", "address_added", "projection states")] == [
        "Spent by currency",
        "Address added",
        "Projection states",
    ]


def minutes(*events: int) -> list[Minute]:
    ends = [sum(events[: number + 1]) for number in range(len(events))]
    return [
        Minute(NOW + timedelta(minutes=number), end - count, end)
        for number, (count, end) in enumerate(zip(events, ends, strict=True))
    ]


def test_a_bar_is_filled_by_what_waits() -> None:
    drawn = chart(minutes(10, 0, 20, 4), Part("relay", 15, {}, 19, 5.0))
    assert (drawn.most, drawn.total, drawn.waiting) == (20, 34, 19)
    assert [bar.height for bar in drawn.bars] == [HEIGHT / 2, 0, HEIGHT, HEIGHT / 5]
    assert [bar.waiting_height for bar in drawn.bars] == [0, 0, HEIGHT * 15 / 20, HEIGHT / 5]
    assert [bar.y for bar in drawn.bars] == [50, HEIGHT, 0, 80]


def test_an_empty_hour_has_no_bars() -> None:
    assert {bar.height for bar in chart(minutes(0, 0, 0)).bars} == {0}


@pytest.mark.parametrize(
    ("field", "old", "new", "before", "after"),
    [
        ("firstName", None, "Jane", [], ["Jane"]),
        ("tags", ["a", "b"], ["b", "c"], ["a"], ["c"]),
        ("tags", ["a", "b"], ["b", "a"], ["a", "b"], ["b", "a"]),
        ("metadata", {"k": True, "x": 1}, {"k": False, "x": 1}, ["k: yes"], ["k: no"]),
        ("totalSpent", 0, 1_234, ["0.00 EUR"], ["12.34 EUR"]),
        ("spentByCurrency", {}, {"JPY": 5}, [], ["5 JPY"]),
        ("lastOrderAt", None, "2024-06-15T14:22:00.000Z", [], ["2024-06-15 14:22:00 UTC"]),
        ("active", True, False, ["yes"], ["no"]),
        ("orderCount", 0, 1, ["0"], ["1"]),
    ],
)
def test_a_change_shows_what_differs(
    field: str, old: JsonValue, new: JsonValue, before: list[str], after: list[str]
) -> None:
    (row,) = change_rows({field: (old, new)}, "EUR")
    assert (row.before, row.after) == (before, after)


def test_what_was_nothing_and_is_nothing_is_left_out() -> None:
    assert change_rows({"phone": (None, None), "tags": (None, [])}, "USD") == []


def test_the_longest_token_fits_and_a_session_ends_by_itself() -> None:
    clock = [1_000.0]
    sessions = Sessions(b"k" * 32, "/console", lambda: clock[0])
    response = web.Response()
    bearer = "t" * BEARER_CHARACTERS_MAX
    sessions.begin(response, bearer, is_https=True)
    sealed = response.cookies[COOKIE]
    assert len(sealed.OutputString()) < 4_096
    request = make_mocked_request("GET", "/", headers={"Cookie": f"{COOKIE}={sealed.value}"})
    clock[0] += SESSION_SECONDS - 1
    assert sessions.bearer(request) == bearer
    assert Sessions(b"l" * 32, "/console", lambda: clock[0]).bearer(request) is None
    clock[0] += 1
    assert sessions.bearer(request) is None


GROUNDS = {
    "text": ("ground", "card", "plain-ground"),
    "quiet": ("ground", "card", "plain-ground"),
    "accent": ("ground", "card"),
    "on-accent": ("accent",),
    **{name: (f"{name}-ground", "card") for name in ("good", "warn", "bad")},
}
LEAST_CONTRAST = 4.5  # WCAG 2.2, 1.4.3, level AA


def colours(scheme: str) -> dict[str, str]:
    sheet = STATIC_FILES["console.css"].body.decode()
    light, _, rest = sheet.partition("@media (prefers-color-scheme: dark)")
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    dark = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", rest))
    return found | dark if scheme == "dark" else found


def luminance(colour: str) -> float:
    """As WCAG defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_on_its_ground(scheme: str) -> None:
    known = colours(scheme)
    for text, grounds in GROUNDS.items():
        for ground in grounds:
            low, high = sorted((luminance(known[text]), luminance(known[ground])))
            assert (high + 0.05) / (low + 0.05) >= LEAST_CONTRAST, (text, ground)
