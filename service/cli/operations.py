"""`/livez`, `/readyz` and `/metrics` of a role that answers nothing else."""

from __future__ import annotations

import asyncio

from service.cli.ground import Ground
from service.cli.role import PARTS_SHARE
from service.http.app import build_app
from service.http.operations import operations_pages
from service.http.server import serve
from service.telemetry import Health


class _Unobserved:
    """Whoever asks a role how it is, is not worth counting."""

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None: ...


async def serve_operations(
    ground: Ground, health: Health, default_port: int, stop: asyncio.Event
) -> None:
    """Answer until stopped."""
    settings = ground.settings
    pages = operations_pages(health.readiness, ground.metrics.render)
    async with serve(
        build_app(_Unobserved(), pages),
        settings.http_host,
        default_port if settings.http_port is None else settings.http_port,
        shutdown_timeout_seconds=settings.shutdown_timeout_seconds * PARTS_SHARE,
    ):
        await stop.wait()
        health.stop()
