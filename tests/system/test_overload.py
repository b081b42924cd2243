"""More callers than the API can serve: as many are served as at its best, and memory stays flat.

Invariant: callers are as unkind as they can be: whoever is refused asks again at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from uuid import uuid4

import pytest

from service.http.server import CONNECTIONS_MAX
from service.http.slots import IN_FLIGHT_MAX
from tests.support.closed_loop import Callers, http_request
from tests.system.installation import Installation, Role
from tests.system.traffic import Caller, Ledger

AT_ITS_BEST = 64  # callers; more make the API no faster
OVERLOADS = (CONNECTIONS_MAX - 10, 4 * IN_FLIGHT_MAX + 100)  # within its connections, and beyond
WARM_SECONDS, SECONDS = 3.0, 6.0  # two seconds until all callers are connected
SHARE_MIN = 0.5  # of its best right before or after, whichever is less: machines are noisy
MEMORY_BYTES_MAX = 150_000_000  # more than before the overload; 900 connections are half of it
MEMORY = "process_resident_memory_bytes"


@pytest.fixture
async def api(installation: Installation) -> Role:
    return await installation.start("api")


def creations(system: Installation) -> Callable[[], bytes]:
    word, numbers = uuid4().hex, count()

    def request() -> bytes:
        body = json.dumps({"email": f"{word}.{next(numbers)}@example.com"}).encode()
        return http_request("POST", "/user", system.headers, body)

    return request


@pytest.mark.parametrize("callers", OVERLOADS)
async def test_under_twice_the_load_and_more_it_serves_as_many(
    installation: Installation, api: Role, callers: int
) -> None:
    load = Callers(api.url, creations(installation))
    best = await load.ask(AT_ITS_BEST, SECONDS, warm_seconds=WARM_SECONDS)
    before = await installation.metric(api, MEMORY)

    seen = await load.ask(callers, SECONDS, warm_seconds=WARM_SECONDS)
    after = await load.ask(AT_ITS_BEST, SECONDS, warm_seconds=WARM_SECONDS)

    assert best.statuses.keys() == {201}
    assert seen.statuses.keys() <= {201, 503}
    assert (seen.without_retry_after, seen.cut_off) == (0, 0)
    at_best = min(best.successes_per_second, after.successes_per_second)
    assert seen.successes_per_second >= SHARE_MIN * at_best, (best, seen, after)
    assert await installation.metric(api, MEMORY) - before < MEMORY_BYTES_MAX
    caller = Caller(installation, [api], Ledger())
    created = await caller.write("POST", "/user", {"email": f"{uuid4().hex}@example.com"})
    assert created.status == 201
    assert api.failures == []
