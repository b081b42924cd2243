"""Creates with several times the connections that the API works on at once, against its best.

Invariant: a closed loop whose callers ask again at once, whatever they are told; so the load never
gives way. Only successes count.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import OVERLOAD, Figure
from benchmarks.processes import Service
from benchmarks.wrk import CONNECTIONS, Load, run_wrk
from service.http.slots import IN_FLIGHT_MAX

OVERLOADED = 3 * IN_FLIGHT_MAX


async def measure_overload(
    service: Service, token: str, seconds: float, tell: Callable[[str], None]
) -> list[Figure]:
    """With one process of the API; its best is looked at before and after."""
    async with service.role("api") as api:

        async def load(connections: int) -> Load:
            word = f"r{secrets.token_hex(6)}"
            return await run_wrk(
                api.url,
                "create.lua",
                [word],
                token=token,
                seconds=seconds,
                connections=connections,
                may_refuse=connections == OVERLOADED,
            )

        await load(CONNECTIONS)  # to be warm
        before = await load(CONNECTIONS)
        held = _resident_bytes(api.process.pid)
        seen = await load(OVERLOADED)
        grown = _resident_bytes(api.process.pid) - held
        after = await load(CONNECTIONS)
    best = (before.per_second + after.per_second) / 2
    tell(
        f"create: {best:,.0f}/s with {CONNECTIONS} callers, {seen.per_second:,.0f}/s with"
        f" {OVERLOADED}, {seen.refused / seen.seconds:,.0f} refusals/s"
    )
    return [
        Figure("best", f"create, {CONNECTIONS} callers", best, "requests/s"),
        Figure(
            "overload",
            f"create, {OVERLOADED} callers",
            seen.per_second / best,
            "of its best",
            p50_ms=seen.p50_ms,
            p99_ms=seen.p99_ms,
            target=OVERLOAD,
        ),
        Figure("overload_memory", "memory that the overload took", grown / 1e6, "MB"),
    ]


def _resident_bytes(process_id: int) -> int:
    """By Linux's /proc."""
    for line in Path(f"/proc/{process_id}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1_024
    return 0
