"""How often one token may call, in one process, and what callers are told of it.

Invariants: over any stretch of time a token makes no more than `per_second` requests a second, plus
as many at once after a pause (generic cell rate algorithm, ITU-T I.371). What is told is never more
than what would be let in right now.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from aiohttp import web

from service.http.headers import RATE_LIMIT, RATE_LIMIT_POLICY

CALLERS_MAX = 10_000  # remembered before those that are free again are forgotten
BURST_SECONDS = 1  # so a token may make `per_second` requests at once
POLICY = '"default"'  # the one policy's name, a structured field's string

_TOLD = web.RequestKey("told", Mapping[str, str])  # left by the endpoint for the answer


class Allowance(NamedTuple):
    """`wait_seconds` is above 0 where the request is refused; `headers` say what is left."""

    wait_seconds: float
    headers: Mapping[str, str]


class RateLimit:
    """`per_second` is at least 1."""

    def __init__(self, per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1.0 / per_second
        self._policy = f"{POLICY};q={per_second * BURST_SECONDS};w={BURST_SECONDS}"
        self._clock = clock
        # By tenant and token: when the requests so far are worked off.
        self._busy_until: dict[tuple[str, str], float] = {}

    def take(self, caller: tuple[str, str]) -> Allowance:
        """Count a request, unless it comes too early."""
        now = self._clock()
        busy_seconds = max(self._busy_until.get(caller, now) - now, 0.0)
        wait = busy_seconds + self._interval - BURST_SECONDS
        if wait > self._rounding:
            return Allowance(wait, self._told(0, wait))
        busy_seconds += self._interval
        self._busy_until[caller] = now + busy_seconds
        if len(self._busy_until) > CALLERS_MAX:
            self._busy_until = {key: at for key, at in self._busy_until.items() if at > now}
        left = (BURST_SECONDS - busy_seconds + self._rounding) / self._interval
        return Allowance(0.0, self._told(int(left), busy_seconds))

    @property
    def _rounding(self) -> float:
        """What is less than this is only an error of floating point."""
        return self._interval / 1_000

    def _told(self, left: int, seconds: float) -> Mapping[str, str]:
        """As draft-ietf-httpapi-ratelimit-headers-10 has it: so many more may come now; after so
        many seconds there will be more."""
        left_now = f"{POLICY};r={left};t={math.ceil(seconds - self._rounding)}"
        return {RATE_LIMIT_POLICY: self._policy, RATE_LIMIT: left_now}


def tell(request: web.BaseRequest, allowance: Allowance) -> None:
    """Whatever is answered, a refusal included, will carry the headers."""
    request[_TOLD] = allowance.headers


def told(request: web.BaseRequest) -> Mapping[str, str]:
    """The headers that an answer to this request carries; none where there is no limit."""
    headers: Mapping[str, str] = request.get(_TOLD, {})
    return headers
