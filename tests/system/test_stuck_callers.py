"""Callers who do not finish what they began hold up nobody, not even the end of the process."""

from __future__ import annotations

import asyncio
import json
from asyncio import StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from uuid import uuid4

import pytest

from tests.support.topics import eventually
from tests.system.installation import Installation, Role
from tests.system.traffic import Caller, Ledger

STUCK = 100
WRITES = 50
SERVED_WITHIN_SECONDS = 10.0  # takes half a second on a machine that does nothing else
ENDS_WITHIN_SECONDS = 4.0
UNREAD = 10
LARGE_ANSWERS = 200  # in one connection: tens of megabytes, more than any socket buffers
MEMORY_BYTES_MAX = 100_000_000  # a fraction of what was asked for
MEMORY = "process_resident_memory_bytes"
ANSWERS = (
    'customers_http_request_duration_seconds_count{method="GET",route="/openapi.json",status="200"}'
)
BODY = json.dumps({"email": "jane@example.com"}).encode()


@pytest.fixture
async def api(installation: Installation) -> Role:
    return await installation.start("api", SHUTDOWN_TIMEOUT_SECONDS=str(ENDS_WITHIN_SECONDS))


@asynccontextmanager
async def stuck(api: Role, sent: bytes, count: int) -> AsyncIterator[list[StreamWriter]]:
    """So many connections that sent this, and now neither send nor read."""
    port = int(api.url.rpartition(":")[2])
    opened = [await asyncio.open_connection("127.0.0.1", port, limit=1) for _ in range(count)]
    for _, writer in opened:
        writer.write(sent)
    try:
        yield [writer for _, writer in opened]
    finally:
        for _, writer in opened:
            writer.transport.abort()


def head(system: Installation, method: str, path: str, *lines: str) -> bytes:
    authorization = f"Authorization: Bearer {system.token}"
    every = [f"{method} {path} HTTP/1.1", "Host: x", authorization, *lines]
    return "\r\n".join([*every, "", ""]).encode()


async def serves(system: Installation, api: Role) -> None:
    """Others are served as if nothing was."""
    caller = Caller(system, [api], Ledger())
    started = monotonic()
    for _ in range(WRITES):
        created = await caller.write("POST", "/user", {"email": f"{uuid4().hex}@example.com"})
        assert (await caller.get(created.path)).body == created.body
    assert monotonic() - started < SERVED_WITHIN_SECONDS


async def test_requests_that_were_sent_by_half(installation: Installation, api: Role) -> None:
    length = f"Content-Length: {len(BODY)}"
    lines = ("Content-Type: application/json", length)
    half_a_body = head(installation, "POST", "/user", *lines) + BODY[:9]
    async with stuck(api, half_a_body, STUCK), stuck(api, half_a_body[:40], STUCK):
        await serves(installation, api)
        code, seconds = await asyncio.to_thread(api.process.stop)
    assert (code, seconds < ENDS_WITHIN_SECONDS) == (0, True)
    assert api.failures == []


async def test_answers_that_nobody_reads(installation: Installation, api: Role) -> None:
    requests = head(installation, "GET", "/openapi.json") * LARGE_ANSWERS
    before = await installation.metric(api, MEMORY)
    async with stuck(api, requests, UNREAD):
        served = await served_before_it_stalls(installation, api)
        assert served < UNREAD * LARGE_ANSWERS
        await serves(installation, api)
        after = await installation.metric(api, MEMORY)
        code, seconds = await asyncio.to_thread(api.process.stop)
    assert (code, seconds < ENDS_WITHIN_SECONDS) == (0, True)
    assert after - before < MEMORY_BYTES_MAX
    assert api.failures == []


async def served_before_it_stalls(system: Installation, api: Role) -> float:
    """How many answers were made until two looks in a row find no new one."""
    seen = 0.0

    async def has_stalled() -> bool:
        nonlocal seen
        before, seen = seen, await system.metric(api, ANSWERS)
        return 0 < before == seen

    await eventually(has_stalled)
    return seen
