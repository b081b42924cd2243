"""Many large lists at once, which nobody reads: memory is bounded, and others are served.

Invariant: memory is looked at as the most that the process ever had, so no moment is missed.
"""

from __future__ import annotations

import asyncio
import json
import re
from asyncio import StreamReader
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from service.http.large_answers import HELD_BYTES_MAX
from service.list_request import DISPLAY_MAX
from tests.support.topics import eventually
from tests.system.installation import Installation, Role
from tests.system.test_stuck_callers import head, serves

CUSTOMERS = 100
TAGS = 250
LISTS = 200  # each another one, so nothing of them is shared
SORTS = ("createdAt:desc", "createdAt:asc", "email:asc", "email:desc")
FIRST_LINE_SECONDS = 30.0
LIST_BYTES = CUSTOMERS * TAGS * 255 * 4  # of tags alone: 25 MB
MADE_AT_ONCE = 5  # half of the connections to the database
MEMORY_BYTES_MAX = HELD_BYTES_MAX + MADE_AT_ONCE * 3 * LIST_BYTES
"""More than before: what is held, and what is being made. Most of the time it is half of that."""


@pytest.fixture
async def api(installation: Installation) -> Role:
    await installation.start("relay")
    await installation.start("projections")
    return await installation.start("api")


async def test_many_large_lists_that_nobody_reads(installation: Installation, api: Role) -> None:
    await fill(installation, api)
    before = peak_bytes(api)
    port = int(api.url.rpartition(":")[2])
    opened = [await asyncio.open_connection("127.0.0.1", port, limit=1_024) for _ in range(LISTS)]
    for number, (_, writer) in enumerate(opened):
        path = f"/user?display={DISPLAY_MAX - number % 50}&sort={SORTS[number // 50]}"
        writer.write(head(installation, "GET", path))
    answers = await asyncio.gather(*(beginning(reader) for reader, _ in opened))
    await serves(installation, api)
    after = peak_bytes(api)
    for _, writer in opened:
        writer.transport.abort()

    statuses = Counter(answer[:12] for answer in answers)
    assert after - before < MEMORY_BYTES_MAX, (before, after, statuses)
    assert statuses.keys() == {b"HTTP/1.1 200", b"HTTP/1.1 503"}, statuses
    assert statuses[b"HTTP/1.1 200"] * LIST_BYTES / 2 <= HELD_BYTES_MAX + 2 * LIST_BYTES
    assert all(b"\r\nRetry-After:" in each for each in answers if b" 503 " in each[:13])
    assert api.failures == []


async def fill(system: Installation, api: Role) -> None:
    """Customers as large in tags as they can be, and wait until lists show them."""
    tags = [f"{number:03}" + "\N{FIRE}" * 252 for number in range(TAGS)]
    position = 0
    for number in range(CUSTOMERS):
        body = {"email": f"fat{number}@example.com", "tags": tags}
        url = f"{api.url}/user"
        async with system.session.post(
            url,
            data=json.dumps(body, ensure_ascii=False).encode(),
            headers={**system.headers, "Content-Type": "application/json"},
        ) as answer:
            assert answer.status == 201, await answer.text()
            position = int(answer.headers["Log-Position"])

    async def shows_all() -> bool:
        url = f"{api.url}/user?display=1&minPosition={position}"
        async with system.session.get(url, headers=system.headers) as answer:
            return answer.status == 200

    await eventually(shows_all, 60.0)


async def beginning(reader: StreamReader) -> bytes:
    """The head of an answer; nothing where none came."""
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        async with asyncio.timeout(FIRST_LINE_SECONDS):
            return await reader.readuntil(b"\r\n\r\n")
    return b""


def peak_bytes(api: Role) -> int:
    """What the process had at most so far, as Linux counts it."""
    status = Path(f"/proc/{api.process.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1_024
