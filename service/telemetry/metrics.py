"""The metrics of one process; each name ends in its unit.

Invariants: labels come from closed sets (routes, statuses, projections, codes), so there is a bound
on how many series there are, and no label names a customer, a tenant or a token. A process shows
only what it does: each part brings its own meter.
"""

from __future__ import annotations

import platform
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from service.telemetry.projections import ProjectionFamilies


class Metrics:
    """A registry of the process's own, with what every role tells.

    `shared_directory` is for several processes behind one port: the files in it hold the numbers
    of all of them, and each shows them all. prometheus-client must then have been imported with
    PROMETHEUS_MULTIPROC_DIR set to the same folder.
    """

    def __init__(self, role: str, *, shared_directory: Path | None = None) -> None:
        self.registry = CollectorRegistry()
        self._exposed = self.registry
        if shared_directory is None:
            ProcessCollector(registry=self.registry)
            PlatformCollector(registry=self.registry)
        else:
            self._exposed = CollectorRegistry()
            MultiProcessCollector(self._exposed, str(shared_directory))  # type: ignore[no-untyped-call]
        self.log_appended_position = Gauge(
            "customers_log_appended_position",
            "Position of the last event in the log, as this process last saw it.",
            registry=self.registry,
            multiprocess_mode="max",
        )
        build = Gauge(
            "customers_build_info",
            "Always 1; the labels say what is running.",
            ["version", "python", "role"],
            registry=self.registry,
            multiprocess_mode="max",
        )
        build.labels(version("customers-service"), platform.python_version(), role).set(1)

    @cached_property
    def projections(self) -> ProjectionFamilies:
        """Only a process that keeps one has them."""
        return ProjectionFamilies(self.registry)

    def render(self) -> bytes:
        """Everything in Prometheus' text format 0.0.4, in UTF-8."""
        return generate_latest(self._exposed)
