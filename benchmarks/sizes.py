"""How long and how much is measured: short at small sizes, so that a run takes three minutes."""

from __future__ import annotations

from dataclasses import dataclass, replace

LARGE_CUSTOMERS = 100_000


@dataclass(frozen=True, slots=True)
class Sizes:
    """Everything that grows with the number of customers."""

    customers: int
    load_seconds: float = 3.0  # of every row
    warm_seconds: float = 1.0  # before it
    bare_seconds: float = 2.0  # of the bare handler, before and after every row
    backlog_seconds: float = 4.0  # of creating and of changing customers for the pipeline to do
    backlog_orders: int = 40_000
    intake_messages: int = 150_000
    export_events: int = 1_000_000
    visible_seconds: float = 6.0
    overload_seconds: float = 6.0  # of each of its loads
    places: int = 500  # different places in a list to ask from
    ids: int = 10_000  # different customers to ask for


def sizes_for(customers: int, seconds: float | None = None) -> Sizes:
    """`seconds` replaces the time of every row."""
    found = Sizes(customers)
    if customers >= LARGE_CUSTOMERS:
        found = Sizes(
            customers,
            load_seconds=12.0,
            warm_seconds=3.0,
            bare_seconds=4.0,
            backlog_seconds=15.0,
            backlog_orders=300_000,
            intake_messages=400_000,
            visible_seconds=30.0,
            overload_seconds=15.0,
            places=2_000,
            ids=100_000,
        )
    if seconds is None:
        return found
    return replace(found, load_seconds=seconds, overload_seconds=seconds)
