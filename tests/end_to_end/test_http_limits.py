"""What one process of the API takes at once: requests at work, and open connections."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from service.http import app as http_app
from service.http import server
from service.http.app import build_app
from service.http.operations import operations_pages
from service.http.server import serve
from tests.end_to_end.test_http_server import DEADLINE_SECONDS, head, not_ready, port_of
from tests.support.api import Api, request_metrics
from tests.support.relays import is_true
from tests.support.topics import eventually

BODY = b'{"email":"jane@example.com"}'
JSON_LINES = ("Content-Type: application/json", f"Content-Length: {len(BODY)}")


async def test_requests_in_flight_are_bounded_and_pages_answer_all_the_same(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_app, "IN_FLIGHT_MAX", 2)
    opened = [await asyncio.open_connection("127.0.0.1", port_of(api)) for _ in range(2)]
    for _, writer in opened:
        writer.write(head(api, "POST", "/user", *JSON_LINES) + BODY[:9])
    await eventually(lambda: is_true(api.app.in_flight == 2))

    refused = [await api.get("/user/x"), await api.post("/v1/user", {"email": "j@example.com"})]
    assert [(each.status, each.code) for each in refused] == [(503, "overloaded")] * 2
    assert {each.headers["Retry-After"] for each in refused} == {"1"}
    for page in ("/livez", "/readyz", "/metrics", "/docs"):
        assert (await api.get(page)).status == 200

    for _, writer in opened:
        writer.write(BODY[9:])
    async with asyncio.timeout(DEADLINE_SECONDS):
        answers = sorted([(await reader.read())[:12] for reader, _ in opened])
    assert answers == [b"HTTP/1.1 201", b"HTTP/1.1 409"]
    assert (await api.get("/user/x")).status == 404
    for _, writer in opened:
        writer.close()


async def test_requests_that_fail_or_whose_callers_leave_are_no_longer_in_flight(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_app, "IN_FLIGHT_MAX", 1)
    for _ in range(3):
        assert (await api.get("/user/x")).status == 404
        _, writer = await asyncio.open_connection("127.0.0.1", port_of(api))
        writer.write(head(api, "POST", "/user", *JSON_LINES) + BODY[:9])
        await eventually(lambda: is_true(api.app.in_flight == 1))
        writer.transport.abort()
        await eventually(lambda: is_true(api.app.in_flight == 0))
    assert (await api.post("/user", {"email": "jane@example.com"})).status == 201


async def test_connections_are_bounded_and_one_that_leaves_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 2)
    app = build_app(request_metrics(), operations_pages(not_ready, lambda: b""))
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"

    kept: list[asyncio.StreamWriter] = []

    async def is_served(port: int) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = b""
        with suppress(ConnectionError):
            writer.write(request)
            answer = await reader.readline()
        if answer:
            kept.append(writer)
        else:
            writer.transport.abort()
        return answer.startswith(b"HTTP/1.1 200")

    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serve(app, "127.0.0.1", 0, shutdown_timeout_seconds=2) as port,
    ):
        assert [await is_served(port) for _ in range(4)] == [True, True, False, False]
        kept.pop().close()
        await eventually(lambda: is_served(port))
        for writer in kept:
            writer.close()
