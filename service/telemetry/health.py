"""Whether a process can do its work now, and what it lacks.

Invariant: asking is cheap and bounded. However many ask, each check runs at most once in
FRESH_SECONDS and for at most CHECK_TIMEOUT_SECONDS.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from service.errors import CustomersError

CHECK_TIMEOUT_SECONDS = 2.0
FRESH_SECONDS = 1.0

Check: TypeAlias = Callable[[], Awaitable[bool]]
"""False, or one of our errors, where what it is named after is missing."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """`missing` names every check that failed, required ones first.

    `degraded`: ready, but something that is not required is missing.
    """

    ready: bool
    degraded: bool
    missing: tuple[str, ...]


class Health:
    """Runs named checks. Without the required ones the process is not ready."""

    def __init__(
        self,
        required: Mapping[str, Check],
        optional: Mapping[str, Check] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._required = required
        self._optional = optional or {}
        self._clock = clock
        self._turn = asyncio.Lock()
        self._known: Readiness | None = None
        self._known_at = 0.0
        self._stopping = False

    def stop(self) -> None:
        """From now on not ready, so that no new work is sent here. Harmless when repeated."""
        self._stopping = True

    async def readiness(self) -> Readiness:
        if self._stopping:
            return Readiness(ready=False, degraded=False, missing=("shutting_down",))
        async with self._turn:
            if self._known is None or self._clock() - self._known_at >= FRESH_SECONDS:
                self._known, self._known_at = await self._look(), self._clock()
            return self._known

    async def _look(self) -> Readiness:
        checks = {**self._required, **self._optional}
        answers = await asyncio.gather(*(holds(check) for check in checks.values()))
        missing = tuple(name for name, holds in zip(checks, answers, strict=True) if not holds)
        ready = self._required.keys().isdisjoint(missing)
        return Readiness(ready=ready, degraded=ready and bool(missing), missing=missing)


async def holds(check: Check) -> bool:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            return await check()
    except (CustomersError, TimeoutError):
        return False
