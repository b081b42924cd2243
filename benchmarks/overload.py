"""Creates at twice the connections and more than the API can serve, against its best.

Invariant: a closed loop whose callers ask again at once, whatever they are told; so the load is
never less than what is measured. Only successes count.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from itertools import count
from pathlib import Path

from benchmarks.figures import OVERLOAD, Figure
from benchmarks.processes import Service
from service.http.slots import IN_FLIGHT_MAX
from tests.support.closed_loop import Callers, http_request

AT_ITS_BEST = 64  # callers, as wrk's connections
OVERLOADED = 3 * IN_FLIGHT_MAX
WARM_SECONDS = 2.0
_CREATION = (
    '{"email":"%s.%d@example.com","firstName":"Jane","lastName":"Doe","phone":"+1-555-0123",'
    '"tags":["referral"],"metadata":{"source":"partner-campaign"}}'
)


async def measure_overload(
    service: Service, token: str, seconds: float, tell: Callable[[str], None]
) -> list[Figure]:
    """With one process of the API; its best is looked at before and after."""
    async with service.role("api") as api:
        load = Callers(api.url, _requests(token))
        before = await load.ask(AT_ITS_BEST, seconds, warm_seconds=WARM_SECONDS)
        memory_before = _resident_bytes(api.process.pid)
        seen = await load.ask(OVERLOADED, seconds, warm_seconds=WARM_SECONDS)
        memory_after = _resident_bytes(api.process.pid)
        after = await load.ask(AT_ITS_BEST, seconds, warm_seconds=WARM_SECONDS)
    best = (before.successes_per_second + after.successes_per_second) / 2
    refused = seen.counted[503] / seconds
    tell(
        f"{OVERLOADED} callers: {seen.successes_per_second:,.0f} creates/s and {refused:,.0f}"
        f" refusals/s; {AT_ITS_BEST} callers: {best:,.0f} creates/s"
    )
    megabytes = (memory_after - memory_before) / 1e6
    share = seen.successes_per_second / best
    return [
        Figure("best", f"create, {AT_ITS_BEST} callers", best, "requests/s"),
        Figure("overload", f"create, {OVERLOADED} callers", share, "of its best", target=OVERLOAD),
        Figure("overload_memory", "memory that the overload took", megabytes, "MB"),
    ]


def _requests(token: str) -> Callable[[], bytes]:
    word, numbers = secrets.token_hex(6), count()
    headers = {"Authorization": f"Bearer {token}"}

    def request() -> bytes:
        return http_request("POST", "/user", headers, (_CREATION % (word, next(numbers))).encode())

    return request


def _resident_bytes(process_id: int) -> int:
    """By Linux's /proc."""
    for line in Path(f"/proc/{process_id}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1_024
    return 0
