"""What each part of the system tells, as metrics; and what went wrong, as log lines too.

Invariant: a meter never blocks and never raises, so counting cannot disturb what is counted.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from prometheus_client import Counter, Gauge, Histogram

from service.telemetry.metrics import Metrics
from service.telemetry.projections import BATCH_BUCKETS

DURATION_BUCKETS_SECONDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0
)  # fmt: skip


class ApiMeter:
    """What an API counts."""

    def __init__(self, metrics: Metrics) -> None:
        self.append_batch_commands = Histogram(
            "customers_append_batch_commands",
            "Commands that shared one transaction of the log.",
            buckets=BATCH_BUCKETS,
            registry=metrics.registry,
        )
        self.http_request_duration_seconds = Histogram(
            "customers_http_request_duration_seconds",
            "Time from a request's head to the end of its answer.",
            ["method", "route", "status"],
            buckets=DURATION_BUCKETS_SECONDS,
            registry=metrics.registry,
        )


class RelayMeter:
    """What the relay counts: an object as `service.relay` asks for."""

    def __init__(self, metrics: Metrics) -> None:
        registry = metrics.registry
        self._log = structlog.get_logger()
        self._is_active = False
        self._position = Gauge(
            "customers_log_published_position",
            "Position up to which the log is in Kafka, as this process knows since it publishes.",
            registry=registry,
        )
        self._batch = Histogram(
            "customers_relay_batch_events",
            "Events that the relay published at once.",
            buckets=BATCH_BUCKETS,
            registry=registry,
        )
        self._lag_events = Gauge(
            "customers_relay_lag_events",
            "Events in the log that are not published yet.",
            registry=registry,
        )
        self._lag_seconds = Gauge(
            "customers_relay_lag_seconds",
            "For how long events have been waiting to be published; 0 when none are.",
            registry=registry,
        )
        self._active = Gauge(
            "customers_relay_active",
            "1 where this process is the relay that publishes, 0 where it stands by.",
            registry=registry,
        )
        self._failures = Counter(
            "customers_relay_failures",
            "Times that publishing broke off and was tried again.",
            ["code"],
            registry=registry,
        )

    def begins(self, position: int) -> None:
        self._position.set(position)

    def published(self, position: int, events: int) -> None:
        self._position.set(position)
        self._batch.observe(events)

    def lag(self, events: int, seconds: float) -> None:
        self._lag_events.set(events)
        self._lag_seconds.set(seconds)

    def active(self, is_active: bool) -> None:
        self._active.set(is_active)
        if is_active != self._is_active:
            self._is_active = is_active
            self._log.info("relay_publishes" if is_active else "relay_publishes_no_more")

    def failed(self, code: str, detail: str) -> None:
        self._failures.labels(code).inc()
        self._log.warning("publishing_broke_off", code=code, detail=detail)


class ProjectionMeter:
    """What a worker of one projection counts: an object as `projections` asks for."""

    def __init__(self, metrics: Metrics, projection: str) -> None:
        all_of_them = metrics.projections
        self._projection = projection
        self._log = structlog.get_logger().bind(projection=projection)
        self._position = all_of_them.position.labels(projection)
        self._lag_events = all_of_them.lag_events.labels(projection)
        self._lag_seconds = all_of_them.lag_seconds.labels(projection)
        self._batch = all_of_them.batch.labels(projection)
        self._skipped = all_of_them.skipped.labels(projection)
        self._healed = all_of_them.healed.labels(projection)
        self._parked = all_of_them.parked
        self._parked_now = all_of_them.parked_now.labels(projection)
        self._failures = all_of_them.failures

    def applied(self, events: int) -> None:
        self._batch.observe(events)

    def skipped(self, events: int) -> None:
        self._skipped.inc(events)

    def healed(self, events: int) -> None:
        self._healed.inc(events)

    def parked(self, reason: str) -> None:
        self._parked.labels(self._projection, reason).inc()
        self._log.error("customer_parked", reason=reason)

    def parked_now(self, customers: int) -> None:
        self._parked_now.set(customers)

    def progress(self, position: int, lag_events: int, lag_seconds: float) -> None:
        self._position.set(position)
        self._lag_events.set(lag_events)
        self._lag_seconds.set(lag_seconds)

    def failed(self, code: str) -> None:
        self._failures.labels(self._projection, code).inc()
        self._log.warning("projecting_broke_off", code=code)


class StatesMeter:
    """What a worker of the topic of states counts: an object as `projections` asks for."""

    def __init__(self, metrics: Metrics) -> None:
        registry = metrics.registry
        self._log = structlog.get_logger()
        self._position = Gauge(
            "customers_states_position",
            "Position up to which the topic of states holds what the log says.",
            registry=registry,
        )
        self._lag_events = Gauge(
            "customers_states_lag_events",
            "Events in the log that the topic of states does not follow yet.",
            registry=registry,
        )
        self._lag_seconds = Gauge(
            "customers_states_lag_seconds",
            "Age of the oldest event that the topic does not follow yet; 0 when it follows all.",
            registry=registry,
        )
        self._batch = Histogram(
            "customers_states_batch_events",
            "Events whose customers were written at once.",
            buckets=BATCH_BUCKETS,
            registry=registry,
        )
        self._failures = Counter(
            "customers_states_failures",
            "Times that writing states broke off and was tried again.",
            ["code"],
            registry=registry,
        )

    def written(self, events: int) -> None:
        self._batch.observe(events)

    def progress(self, position: int, lag_events: int, lag_seconds: float) -> None:
        self._position.set(position)
        self._lag_events.set(lag_events)
        self._lag_seconds.set(lag_seconds)

    def failed(self, code: str, detail: str) -> None:
        self._failures.labels(code).inc()
        self._log.warning("states_broke_off", code=code, detail=detail)


class IntakeMeter:
    """What an intake of orders counts: an object as `service.order_intake` asks for."""

    def __init__(self, metrics: Metrics) -> None:
        registry = metrics.registry
        self._log = structlog.get_logger()
        self._batch = Histogram(
            "customers_intake_batch_messages",
            "Order messages that the intake took in at once.",
            buckets=BATCH_BUCKETS,
            registry=registry,
        )
        self._messages = Counter(
            "customers_intake_messages",
            "Order messages by what became of them.",
            ["outcome"],
            registry=registry,
        )
        self._dead_letters = Counter(
            "customers_intake_dead_letters",
            "Order messages that were put aside as dead letters.",
            ["reason"],
            registry=registry,
        )
        self._lag_messages = Gauge(
            "customers_intake_lag_messages",
            "Order messages of the whole topic that wait: every intake tells the same number.",
            registry=registry,
        )
        self._oldest_dead_letter_seconds = Gauge(
            "customers_intake_oldest_dead_letter_seconds",
            "Age of the oldest dead letter that was not put back yet; 0 when there is none.",
            registry=registry,
        )
        self._failures = Counter(
            "customers_intake_failures",
            "Times that taking in broke off and was tried again.",
            ["code"],
            registry=registry,
        )

    def taken_in(self, outcomes: Mapping[str, int]) -> None:
        self._batch.observe(sum(outcomes.values()))
        for outcome, messages in outcomes.items():
            self._messages.labels(outcome).inc(messages)

    def dead(self, reason: str, messages: int) -> None:
        self._dead_letters.labels(reason).inc(messages)
        self._log.warning("dead_letters", reason=reason, messages=messages)

    def lag(self, messages: int) -> None:
        self._lag_messages.set(messages)

    def oldest_dead_letter(self, age_seconds: float) -> None:
        self._oldest_dead_letter_seconds.set(age_seconds)

    def failed(self, code: str) -> None:
        self._failures.labels(code).inc()
        self._log.warning("intake_broke_off", code=code)
