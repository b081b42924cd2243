"""What a token may still do, to the rounding: never more is told than would be let in."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from service.http.headers import RATE_LIMIT, RATE_LIMIT_POLICY
from service.http.rate_limit import RateLimit

CALLER = ("default", "tok_1")
LEFT = re.compile(r'"default";r=(\d+);t=(\d+)')


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


def left(limit: RateLimit) -> tuple[int, int]:
    match = LEFT.fullmatch(limit.take(CALLER).headers[RATE_LIMIT])
    assert match is not None
    return int(match[1]), int(match[2])


def test_the_policy_is_the_limit() -> None:
    headers = RateLimit(100, Clock()).take(CALLER).headers
    assert headers == {RATE_LIMIT_POLICY: '"default";q=100;w=1', RATE_LIMIT: '"default";r=99;t=1'}


def test_what_is_left_goes_down_to_nothing_and_then_the_wait_is_told() -> None:
    limit = RateLimit(3, Clock())
    assert [left(limit) for _ in range(5)] == [(2, 1), (1, 1), (0, 1), (0, 1), (0, 1)]
    assert 0.3 < limit.take(CALLER).wait_seconds < 0.34


def test_another_token_has_a_rate_of_its_own() -> None:
    limit = RateLimit(1, Clock())
    assert limit.take(CALLER).wait_seconds == 0
    assert limit.take(CALLER).wait_seconds > 0
    assert limit.take(("default", "tok_2")).wait_seconds == 0


@given(
    per_second=st.integers(1, 1_000),
    pauses=st.lists(st.floats(0, 1.5), max_size=20),
)
def test_whatever_the_pauses_so_many_are_let_in_as_were_told(
    per_second: int, pauses: list[float]
) -> None:
    clock = Clock()
    limit = RateLimit(per_second, clock)
    for pause in pauses:
        clock.now += pause
        told, _ = left(limit)
        assert [limit.take(CALLER).wait_seconds for _ in range(told)] == [0.0] * told
        refused = limit.take(CALLER)
        assert refused.wait_seconds > 0
        clock.now += refused.wait_seconds
        assert limit.take(CALLER).wait_seconds == 0
