"""What one process of the API takes at once: requests at work, and open connections."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import orjson
import pytest

from service.http import refusing, server, slots
from service.http.app import build_app
from service.http.operations import operations_pages
from service.http.server import serve
from service.postgres import Postgres
from tests.end_to_end.test_http_server import DEADLINE_SECONDS, head, not_ready, port_of
from tests.support.api import request_metrics, running_api
from tests.support.relays import is_true
from tests.support.topics import eventually

BODY = b'{"email":"jane@example.com"}'
JSON_LINES = ("Content-Type: application/json", f"Content-Length: {len(BODY)}")


async def test_who_finds_all_slots_taken_waits_and_is_refused_after_a_moment(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "IN_FLIGHT_MAX", 2)
    monkeypatch.setattr(slots, "WAIT_SECONDS", 0.2)
    async with running_api(database) as api, Postgres.connect(database) as postgres:
        async with postgres.transaction() as transaction:
            await transaction.execute("SELECT pg_advisory_xact_lock(7305002)")  # nobody appends
            stuck = [
                asyncio.create_task(api.post("/user", {"email": f"{n}@example.com"}))
                for n in range(2)
            ]
            await eventually(lambda: is_true(api.app.in_flight == 2))
            refused = [
                await api.get("/user/x"),
                await api.post("/v1/user", {"email": "j@example.com"}),
            ]
            assert [(each.status, each.code) for each in refused] == [(503, "overloaded")] * 2
            assert {each.headers["Retry-After"] for each in refused} == {"1"}
            for page in ("/livez", "/readyz", "/metrics", "/docs"):
                assert (await api.get(page)).status == 200
            monkeypatch.setattr(slots, "WAIT_SECONDS", DEADLINE_SECONDS)
            waits = asyncio.create_task(api.get("/user/x"))
            await eventually(lambda: is_true(api.app.in_flight == 3))
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert [(await each).status for each in stuck] == [201, 201]
            assert (await waits).status == 404


async def test_requests_that_have_not_arrived_whole_hold_up_nobody(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "IN_FLIGHT_MAX", 1)
    async with running_api(database) as api:
        opened = [await asyncio.open_connection("127.0.0.1", port_of(api)) for _ in range(4)]
        for _, writer in opened:
            writer.write(head(api, "POST", "/user", *JSON_LINES) + BODY[:9])
        await eventually(lambda: is_true(api.app.in_flight == len(opened)))
        assert (await api.post("/user", {"email": "other@example.com"})).status == 201
        for _, writer in opened:
            writer.write(BODY[9:])
        async with asyncio.timeout(DEADLINE_SECONDS):
            answers = sorted([(await reader.read(12)) for reader, _ in opened])
        assert answers == [b"HTTP/1.1 201", *[b"HTTP/1.1 409"] * 3]
        for _, writer in opened:
            writer.close()


async def test_bodies_that_arrive_are_bounded_and_those_that_are_done_make_room(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "BODIES_BYTES_MAX", 50)
    async with running_api(database) as api:
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", port_of(api))
            writer.write(head(api, "POST", "/user", *JSON_LINES) + BODY[:20])
            await eventually(lambda: is_true(api.app.in_flight == 1))
            refused = await api.post("/user", {"email": "j" * 20 + "@example.com"})
            assert (refused.status, refused.code) == (503, "overloaded")
            assert refused.headers["Retry-After"] == "1"
            writer.transport.abort()
            await eventually(lambda: is_true(api.app.in_flight == 0))
        assert (await api.post("/user", {"email": "j" * 20 + "@example.com"})).status == 201


async def test_slots_of_requests_that_fail_or_whose_callers_leave_are_free_again(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "IN_FLIGHT_MAX", 1)
    async with running_api(database) as api:
        for _ in range(3):
            assert (await api.get("/user/x")).status == 404
            _, writer = await asyncio.open_connection("127.0.0.1", port_of(api))
            writer.write(head(api, "GET", "/user"))
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
        writer.write(request)
        answer = await reader.readline()
        if answer.startswith(b"HTTP/1.1 200"):
            kept.append(writer)
            return True
        rest = await reader.read()  # to its end: the connection is closed
        assert answer == b"HTTP/1.1 503 Service Unavailable\r\n"
        assert b"\r\nRetry-After: 1\r\n" in rest
        assert orjson.loads(rest.partition(b"\r\n\r\n")[2])["code"] == "overloaded"
        writer.close()
        return False

    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serve(app, "127.0.0.1", 0, shutdown_timeout_seconds=2) as port,
    ):
        assert [await is_served(port) for _ in range(4)] == [True, True, False, False]
        kept.pop().close()
        await eventually(lambda: is_served(port))
        for writer in kept:
            writer.close()


async def test_callers_who_are_refused_and_stay_are_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 0)
    monkeypatch.setattr(server, "REFUSED_AT_ONCE_MAX", 1)
    monkeypatch.setattr(refusing, "LEAVE_SECONDS", 0.3)
    app = build_app(request_metrics(), operations_pages(not_ready, lambda: b""))
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serve(app, "127.0.0.1", 0, shutdown_timeout_seconds=2) as port,
    ):
        silent, writer = await asyncio.open_connection("127.0.0.1", port)
        one_too_many, other = await asyncio.open_connection("127.0.0.1", port)
        for reader in (one_too_many, silent):
            with suppress(ConnectionError):
                assert await reader.read() == b""
        for each in (writer, other):
            each.close()
