"""What the console asks of the queries: the same as the API's routes do, and nothing else."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from service.http.customers import Queries
from service.http.history import HistoryQueries
from service.http.orders import OrderQueries


class ConsoleQueries(Queries, HistoryQueries, OrderQueries, Protocol):
    """What is read."""


class EventsWanted(NamedTuple):
    """A stretch of a customer's events."""

    after: int
    display: int
    cursor: str | None = None


class OrdersWanted(NamedTuple):
    """A page of a customer's orders."""

    display: int
    cursor: str | None
    min_position: int | None = None
