"""An answer that is sent piece by piece: while it is made, or because it is large.

Invariant: what cannot be finished is cut off, so that no caller takes a part for the whole. Nothing
else can be said by then: the status is long sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import structlog
from aiohttp import hdrs, web

from service.http.correlation import X_REQUEST_ID
from service.http.headers import COMMON_HEADERS
from service.http.rate_limit import told
from service.http.routes import JSON

WRITE_TIMEOUT_SECONDS = 30.0  # for a caller to take what was sent, before more is


async def streamed(
    request: web.BaseRequest,
    request_id: str,
    chunks: AsyncGenerator[bytes | memoryview, None],
    headers: Mapping[str, str],
    status: int = 200,
) -> web.StreamResponse:
    """An answer with these headers and the chunks as a JSON body. Whatever they raise is logged
    here."""
    every = {hdrs.CONTENT_TYPE: JSON, **COMMON_HEADERS, **headers, **told(request)}
    every[X_REQUEST_ID] = request_id
    response = web.StreamResponse(status=status, headers=every)
    try:
        async with aclosing(chunks):
            await response.prepare(request)
            async for chunk in chunks:
                async with asyncio.timeout(WRITE_TIMEOUT_SECONDS):
                    await response.write(chunk)
                await asyncio.sleep(0)  # others' turn: a write waits only for a full buffer
    except ConnectionError:
        pass  # the caller has left
    except Exception as error:  # the answer has begun, so nobody above could say so any more
        structlog.get_logger().warning("answer_cut_short", request_id=request_id, exc_info=error)
        if request.transport is not None:
            request.transport.abort()
    return response
