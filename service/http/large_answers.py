"""Answers that are large, and what all of them may take of a process's memory.

Invariant: where the large answers that wait for their callers to take them are HELD_BYTES_MAX
together, a read is refused; a write is done, so its answer counts and is sent all the same: one
customer at most. An answer is held until its caller has taken it, has left, or was cut off for
taking too little, and holds no slot meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from aiohttp import hdrs, web

from service.http.problems import Refused
from service.http.streaming import streamed

LARGE_BYTES = 256 * 1024  # above, an answer counts; CONNECTIONS_MAX bounds what is smaller
HELD_BYTES_MAX = 128 * 1024 * 1024  # of one process: more than the largest list there can be
CHUNK_BYTES = 1024 * 1024  # to be taken within WRITE_TIMEOUT_SECONDS


class LargeAnswers:
    """Of all customer routes of one process."""

    def __init__(self) -> None:
        self._held_bytes = 0

    async def send(
        self, request: web.BaseRequest, request_id: str, response: web.Response, body: bytes
    ) -> web.StreamResponse:
        """Send `response`, whose body this is. Raises Refused `overloaded` where it is a read's."""
        size = len(body)
        is_read = request.method == hdrs.METH_GET
        if is_read and self._held_bytes + size > HELD_BYTES_MAX:
            raise Refused("overloaded", "Too many large answers are being sent.")
        self._held_bytes += size
        headers = {**response.headers, hdrs.CONTENT_LENGTH: str(size)}
        try:
            return await streamed(
                request, request_id, _chunks(body), headers, status=response.status
            )
        finally:
            self._held_bytes -= size


def large_body(request: web.BaseRequest, response: web.StreamResponse) -> bytes | None:
    """The body of an answer that is large and still to be sent."""
    body = response.body if isinstance(response, web.Response) else None
    if not isinstance(body, bytes) or len(body) <= LARGE_BYTES:
        return None
    return None if request.method == hdrs.METH_HEAD else body


async def _chunks(body: bytes) -> AsyncGenerator[memoryview, None]:
    whole = memoryview(body)
    for start in range(0, len(body), CHUNK_BYTES):
        yield whole[start : start + CHUNK_BYTES]
