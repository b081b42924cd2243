"""Large answers: what all of them may hold at once, and that they arrive as any other does."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack

import aiohttp
import pytest
from aiohttp import web

from service.http import large_answers, streaming
from service.http.app import App, build_app
from service.http.call import json_response
from service.http.large_answers import LargeAnswers
from service.http.rate_limit import RateLimit
from service.http.server import serve
from tests.support.api import Answer, request_metrics, running_api
from tests.support.relays import is_true
from tests.support.topics import eventually

DEADLINE_SECONDS = 15.0
BODY = b"[" + b" " * 12_000_000 + b"]"  # more than the system keeps for a connection
REQUEST = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"


def an_app() -> App:
    answers = LargeAnswers()

    async def page(request: web.BaseRequest) -> web.StreamResponse:
        return await answers.send(request, "request-1", json_response(200, BODY, {}), BODY)

    async def small(_: web.BaseRequest) -> web.StreamResponse:
        return json_response(200, b"[]", {})

    return build_app(request_metrics(), {"/large": page, "/small": small})


async def get(port: int, path: str) -> Answer:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as response,
    ):
        return Answer(response.status, response.headers, await response.read())


def unread(port: int, stack: ExitStack) -> socket.socket:
    """A caller who asked, and takes nothing of the answer but its first bytes."""
    caller = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
    caller.sendall(REQUEST)
    return caller


async def test_what_does_not_fit_is_refused_and_others_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(large_answers, "HELD_BYTES_MAX", 2 * len(BODY) + 10)
    app = an_app()
    with ExitStack() as stack:
        async with serve(app, "127.0.0.1", 0, shutdown_timeout_seconds=2) as port:
            callers = [unread(port, stack) for _ in range(2)]
            await eventually(lambda: is_true(app.in_flight == len(callers)))
            for _ in range(3):
                refused = await get(port, "/large")
                assert (refused.status, refused.code) == (503, "overloaded")
                assert refused.headers["Retry-After"] == "1"
                assert (await get(port, "/small")).body == b"[]"
            callers[0].close()
            await eventually(lambda: is_true(app.in_flight == 1))
            for _ in range(3):
                answer = await get(port, "/large")
                assert (answer.status, answer.body) == (200, BODY)


async def test_a_caller_who_takes_nothing_is_cut_off_and_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(large_answers, "HELD_BYTES_MAX", len(BODY))
    monkeypatch.setattr(streaming, "WRITE_TIMEOUT_SECONDS", 0.3)
    app = an_app()
    with ExitStack() as stack:
        async with serve(app, "127.0.0.1", 0, shutdown_timeout_seconds=2) as port:
            unread(port, stack)
            await eventually(lambda: is_true(app.in_flight == 1))
            await eventually(lambda: is_true(app.in_flight == 0), DEADLINE_SECONDS)
            async with asyncio.timeout(DEADLINE_SECONDS):
                assert (await get(port, "/large")).body == BODY


async def test_large_answers_look_like_all_others(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_api(database, rate_limit=RateLimit(1_000)) as api:
        path = await api.create(tags=["x" * 200])
        small = [await api.get("/user"), await api.get(path)]
        monkeypatch.setattr(large_answers, "LARGE_BYTES", 100)
        large = [await api.get("/user"), await api.get(path)]
        assert [each.body for each in large] == [each.body for each in small]
        for one, other in zip(small, large, strict=True):
            assert one.headers.keys() == other.headers.keys()
            assert other.headers["Content-Length"] == str(len(other.body))
        made = await api.post("/user", {"email": "b@example.com", "tags": ["y" * 200]})
        assert (made.status, made.headers["Location"]) == (201, f"/user/{made.json['id']}")


async def test_refusals_concern_large_answers_alone(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_api(database) as api:
        path = await api.create(tags=["x" * 200])
        version = (await api.get(path)).headers["ETag"]
        monkeypatch.setattr(large_answers, "LARGE_BYTES", 200)
        monkeypatch.setattr(large_answers, "HELD_BYTES_MAX", 100)
        for _ in range(3):
            refused = await api.get("/user")
            assert (refused.status, refused.code) == (503, "overloaded")
            assert refused.headers["Retry-After"] == "1"
        assert (await api.call("HEAD", "/user")).status == 200
        assert (await api.get(path, if_none_match=version)).status == 304
        assert (await api.get("/user?display=1&q=nobody")).json["count"] == 0
        assert (await api.delete(path)).status == 204


async def test_what_was_written_is_answered_whatever_is_held(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_answers, "LARGE_BYTES", 100)
    monkeypatch.setattr(large_answers, "HELD_BYTES_MAX", 0)
    async with running_api(database) as api:
        path = await api.create()
        assert (await api.get(path)).code == "overloaded"
        changed = await api.patch(path, {"tags": ["vip"]})
        assert (changed.status, changed.json["tags"]) == (200, ["vip"])
