"""The metrics of projections, each with a label that says of which.

Invariant: made once in a process, however many projections it keeps; each has a meter of its own.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

BATCH_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)


class ProjectionFamilies:
    """All that projections tell."""

    def __init__(self, registry: CollectorRegistry) -> None:
        names = ["projection"]
        self.position = Gauge(
            "customers_projection_position",
            "Position up to which the projection shows the log.",
            names,
            registry=registry,
        )
        self.lag_events = Gauge(
            "customers_projection_lag_events",
            "Events in the log that the projection does not show yet.",
            names,
            registry=registry,
        )
        self.lag_seconds = Gauge(
            "customers_projection_lag_seconds",
            "Age of the oldest event that the projection does not show yet; 0 when it shows all.",
            names,
            registry=registry,
        )
        self.batch = Histogram(
            "customers_projection_batch_events",
            "Events that the projection applied in one transaction.",
            names,
            buckets=BATCH_BUCKETS,
            registry=registry,
        )
        self.skipped = Counter(
            "customers_projection_skipped_events",
            "Events seen before, or waiting because their customer is parked.",
            names,
            registry=registry,
        )
        self.healed = Counter(
            "customers_projection_healed_events",
            "Events that the feed lacked and that were read from the log.",
            names,
            registry=registry,
        )
        self.parked = Counter(
            "customers_projection_parked_customers",
            "Customers parked because an event of theirs could not be applied.",
            [*names, "reason"],
            registry=registry,
        )
        self.parked_now = Gauge(
            "customers_projection_parked",
            "Customers that are parked now.",
            names,
            registry=registry,
        )
        self.failures = Counter(
            "customers_projection_failures",
            "Times that applying broke off and was tried again.",
            [*names, "code"],
            registry=registry,
        )
