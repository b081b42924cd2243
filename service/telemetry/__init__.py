"""What a process tells about itself: log lines, metrics, traces, and whether it is ready.

Invariant: nothing here shows a person, a secret or a customer's id. Whoever does not trace loads no
OpenTelemetry: `traces` is imported by its name, where it is asked for.
"""

from service.telemetry.batch_spans import BatchSpans, NoBatchSpans
from service.telemetry.health import Check, Health, Readiness, holds
from service.telemetry.logs import configure_logging, log_loop_error
from service.telemetry.meters import (
    ApiMeter,
    IntakeMeter,
    ProjectionMeter,
    RelayMeter,
    StatesMeter,
)
from service.telemetry.metrics import Metrics

__all__ = [
    "ApiMeter",
    "BatchSpans",
    "Check",
    "Health",
    "IntakeMeter",
    "Metrics",
    "NoBatchSpans",
    "ProjectionMeter",
    "Readiness",
    "RelayMeter",
    "StatesMeter",
    "configure_logging",
    "holds",
    "log_loop_error",
]
