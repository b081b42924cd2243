"""Streams of events over real processes: they end with the process, and live within the walls."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import AsyncExitStack
from signal import SIGTERM
from time import monotonic

import aiohttp
import pytest

from tests.end_to_end.command import STOP_TIMEOUT_SECONDS
from tests.support.users import users_of
from tests.system.installation import Installation, Role

STREAM = {"Accept": "text/event-stream"}
AT_ONCE_SECONDS = 4.0  # less than what a process gives to requests that do not end
LARGE = {f"key {number}": "x" * 500 for number in range(50)}
LARGE_CUSTOMERS = 250


async def create(system: Installation, api: Role, email: str, **fields: object) -> str:
    body = {"email": email, **fields}
    async with system.session.post(f"{api.url}/user", json=body, headers=system.headers) as answer:
        assert answer.status == 201, await answer.text()
        return str((await answer.json())["id"])


async def next_line(stream: aiohttp.ClientResponse) -> dict[str, object] | None:
    """Of the next event; None at the end of the stream."""
    async for line in stream.content:
        if line.startswith(b"data: "):
            return json.loads(line.removeprefix(b"data: "))
    return None


@pytest.mark.parametrize("arguments", [(), ("--workers", "2")], ids=["one", "workers"])
async def test_streams_end_whole_when_the_process_stops(
    installation: Installation, arguments: tuple[str, ...]
) -> None:
    """Its database user may do no more than the API's role."""
    system = installation
    async with users_of(system.database_url) as users, AsyncExitStack() as stack:
        api = await system.start("api", *arguments, DATABASE_URL=users["customers_api"])
        headers = {**system.headers, **STREAM}
        async with system.session.get(f"{api.url}/events", headers=system.headers) as answer:
            place = answer.headers["As-Of-Position"]
        streams = [
            await stack.enter_async_context(
                system.session.get(f"{api.url}/events?after={place}", headers=headers)
            )
            for _ in range(4)
        ]
        customer_id = await create(system, api, f"jane{len(arguments)}@example.com")
        for stream in streams:
            line = await next_line(stream)
            assert line is not None
            assert line["customerId"] == customer_id
        api.process.process.send_signal(SIGTERM)
        told_at = monotonic()
        assert await asyncio.gather(*map(next_line, streams)) == [None] * 4
        assert await asyncio.to_thread(api.process.process.wait, STOP_TIMEOUT_SECONDS) == 0
        assert monotonic() - told_at < AT_ONCE_SECONDS
        assert api.failures == []


async def test_a_caller_who_takes_nothing_holds_up_no_stop(installation: Installation) -> None:
    system = installation
    api = await system.start("api")
    await asyncio.gather(
        *(
            create(system, api, f"large{number}@example.com", metadata=LARGE)
            for number in range(LARGE_CUSTOMERS)
        )
    )
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        caller.connect(("127.0.0.1", int(api.url.rpartition(":")[2])))
        caller.sendall(
            f"GET /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {system.token}\r\n"
            "Accept: text/event-stream\r\n\r\n".encode()
        )
        assert caller.recv(12) == b"HTTP/1.1 200"
        api.process.process.send_signal(SIGTERM)
        assert await asyncio.to_thread(api.process.process.wait, STOP_TIMEOUT_SECONDS) == 0
        assert api.failures == []
