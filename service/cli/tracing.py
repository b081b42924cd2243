"""Traces of a process, where CUSTOMERS_TRACES asks for them.

Invariant: without that no package of OpenTelemetry is imported.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from service.cli.role import FLUSH_SHARE
from service.errors import ConfigurationError
from service.settings import Settings

if TYPE_CHECKING:
    from service.telemetry.traces import Traces

# OpenTelemetry's own variables that its SDK leaves to whoever sets it up, and what they may say.
MEANT = {
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": ("http/protobuf",),
    "OTEL_EXPORTER_OTLP_PROTOCOL": ("http/protobuf",),
    "OTEL_TRACES_EXPORTER": ("otlp", "none"),
}
OFF = {"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "none"}


def check_traces(settings: Settings) -> None:
    """Raises ConfigurationError where traces are asked for and cannot be had."""
    if not settings.traces:
        return
    try:
        import service.telemetry.traces  # noqa: F401 - whether it can be
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise ConfigurationError(
            "CUSTOMERS_TRACES needs packages that are not installed:"
            " pip install 'customers-service[traces]'."
        ) from error
    for name, meant in MEANT.items():
        if (os.environ.get(name) or meant[0]) not in meant:
            raise ConfigurationError(f"{name} is wrong: it may be {' or '.join(meant)}.")


@asynccontextmanager
async def traced(settings: Settings, role: str) -> AsyncIterator[Traces | None]:
    """None where nobody traces. At the end, what is left is sent, for a bounded time."""
    check_traces(settings)
    is_off = any(os.environ.get(name, "").lower() == value for name, value in OFF.items())
    if not settings.traces or is_off:
        yield None
        return
    from service.telemetry.traces import Traces

    traces = Traces(f"customers-{role}")
    try:
        yield traces
    finally:
        await traces.close(settings.shutdown_timeout_seconds * FLUSH_SHARE)
