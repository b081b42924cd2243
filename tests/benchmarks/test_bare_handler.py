"""The yardstick: it must do the work of validating, or every ratio flatters."""

from __future__ import annotations

from aiohttp.test_utils import TestClient, TestServer

from benchmarks.bare_handler import build_app


async def test_it_accepts_the_documented_body_and_refuses_a_faulty_one() -> None:
    body = {"email": "jane@example.com", "firstName": "Jane", "metadata": {"source": "partner"}}
    async with TestClient(TestServer(build_app())) as client:
        assert (await client.post("/user", json=body)).status == 201
        for fault in ({"email": "jane"}, {"firstName": 1}, {"unknown": 1}):
            assert (await client.post("/user", json=body | fault)).status == 422
