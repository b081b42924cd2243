"""What machines ask of every role: is it alive, is it ready, what does it count.

Invariant: these answer without a token, so they tell nothing about customers or tenants.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import orjson
from aiohttp import hdrs, web

from service.http.call import Page, json_response
from service.http.headers import COMMON_HEADERS
from service.telemetry import Readiness

METRICS_TEXT = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus' exposition format


def operations_pages(
    readiness: Callable[[], Awaitable[Readiness]], render_metrics: Callable[[], bytes]
) -> Mapping[str, Page]:
    """`/livez`, `/readyz` and `/metrics`, for an API or for a role that has nothing else."""

    async def livez(_: web.BaseRequest) -> web.Response:
        return json_response(200, b'{"status":"alive"}', {})

    async def readyz(_: web.BaseRequest) -> web.Response:
        now = await readiness()
        word = "degraded" if now.degraded else "ready" if now.ready else "not ready"
        body = {
            "status": word,
            "ready": now.ready,
            "degraded": now.degraded,
            "missing": now.missing,
        }
        return json_response(200 if now.ready else 503, orjson.dumps(body), {})

    async def metrics(_: web.BaseRequest) -> web.Response:
        headers = {**COMMON_HEADERS, hdrs.CONTENT_TYPE: METRICS_TEXT}
        return web.Response(body=render_metrics(), headers=headers)

    return {"/livez": livez, "/readyz": readyz, "/metrics": metrics}
