"""How often one token may call, in one process.

Invariant: over any stretch of time a token makes no more than `per_second` requests a second, plus
as many at once after a pause (generic cell rate algorithm, ITU-T I.371).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from service.http.problems import Refused

CALLERS_MAX = 10_000  # remembered before those that are free again are forgotten
BURST_SECONDS = 1.0


class RateLimit:
    """`per_second` is at least 1."""

    def __init__(self, per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1.0 / per_second
        self._clock = clock
        # By tenant and token: when the requests so far are worked off.
        self._busy_until: dict[tuple[str, str], float] = {}

    def admit(self, caller: tuple[str, str]) -> None:
        """Raises Refused `rate_limited` with how long to wait."""
        now = self._clock()
        busy_until = max(self._busy_until.get(caller, now), now)
        wait = busy_until - now - BURST_SECONDS + self._interval
        if wait > self._interval / 1_000:  # less is only rounding
            raise Refused("rate_limited", retry_after_seconds=wait)
        self._busy_until[caller] = busy_until + self._interval
        if len(self._busy_until) > CALLERS_MAX:
            self._busy_until = {key: at for key, at in self._busy_until.items() if at > now}
