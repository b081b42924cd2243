"""Counts and times requests.

Invariant: the labels come from closed sets, so a caller cannot make new series.
"""

from __future__ import annotations

from prometheus_client import Histogram

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "OTHER"


class RequestMetrics:
    """`duration` has the labels method, route and status, and counts seconds."""

    def __init__(self, duration: Histogram) -> None:
        self._duration = duration
        self._series: dict[tuple[str, str, int], Histogram] = {}  # looking one up anew is slow

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        if method not in METHODS:
            method = OTHER_METHOD
        series = self._series.get((method, route, status))
        if series is None:
            series = self._duration.labels(method, route, str(status))
            self._series[method, route, status] = series
        series.observe(seconds)
