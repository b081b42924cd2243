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

PROTOCOL = "http/protobuf"
PROTOCOL_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
DISABLED = "OTEL_SDK_DISABLED"


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
    for name in PROTOCOL_VARIABLES:
        if os.environ.get(name, PROTOCOL) != PROTOCOL:
            raise ConfigurationError(f"{name} is wrong: traces are sent by {PROTOCOL} alone.")


@asynccontextmanager
async def traced(settings: Settings, role: str) -> AsyncIterator[Traces | None]:
    """None where nobody traces. At the end, what is left is sent, for a bounded time."""
    check_traces(settings)
    if not settings.traces or os.environ.get(DISABLED, "").strip().lower() == "true":
        yield None
        return
    from service.telemetry.traces import Traces

    traces = Traces(f"customers-{role}")
    try:
        yield traces
    finally:
        await traces.close(settings.shutdown_timeout_seconds * FLUSH_SHARE)
