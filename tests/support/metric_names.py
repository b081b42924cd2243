"""Every metric of the service, as the code defines it.

Invariant: the meters are asked, so no list of metrics is kept by hand.
"""

from __future__ import annotations

from prometheus_client.metrics import MetricWrapperBase

from service.telemetry import (
    ApiMeter,
    IntakeMeter,
    Metrics,
    ProjectionMeter,
    RelayMeter,
    StatesMeter,
)

SUFFIXES_OF_A_HISTOGRAM = ("_bucket", "_count", "_sum")


def metrics_of_all_roles() -> Metrics:
    metrics = Metrics("up")
    ApiMeter(metrics)
    RelayMeter(metrics)
    ProjectionMeter(metrics, "customers")
    StatesMeter(metrics)
    IntakeMeter(metrics)
    return metrics


def metric_names() -> dict[str, set[str]]:
    """What `/metrics` shows, with the labels' names."""
    return {name: labels for name, _, labels in _families()}


def series_names() -> dict[str, set[str]]:
    """The same as it is asked for: a histogram is three series, one of them by `le`."""
    names: dict[str, set[str]] = {}
    for name, kind, labels in _families():
        if kind == "histogram":
            names.update({name + suffix: labels for suffix in SUFFIXES_OF_A_HISTOGRAM})
            names[f"{name}_bucket"] = labels | {"le"}
        else:
            names[name] = labels
    return names


def _families() -> list[tuple[str, str, set[str]]]:
    """Name, kind and labels of each."""
    found = []
    for collector in list(metrics_of_all_roles().registry._collector_to_names):
        if isinstance(collector, MetricWrapperBase):
            for family in collector.describe():
                suffix = "_total" if family.type == "counter" else ""
                found.append((family.name + suffix, family.type, set(collector._labelnames)))
    return found
