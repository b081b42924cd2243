"""The example of docs/projections.md, taken from there, and what it must show, found otherwise.

Invariant: no copy of the example is kept here. What is expected follows from the whole log's events
at once, and knows nothing of rows, versions or batches.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from projections.checkpoint import Checkpoints
from projections.derived import Derived, DerivedApplier, DerivedSource, DerivedStore
from projections.log_feed import LogSource
from projections.runner import Runner
from service.event_log import EventLog, StoredEvent
from service.events import CustomerDeleted, Order, OrderRecorded, Position, RecordedEvent
from service.postgres import Postgres
from tests.support.histories import MOMENT
from tests.support.projections import Projected, a_history
from tests.support.vaults import VAULT

DOCUMENT = Path(__file__).parents[2] / "docs" / "projections.md"
MODULE = "second_order"
SHOWN = """
SELECT customer_id, tenant, first_order_at, second_order_at, days
FROM derived.second_order_v1 ORDER BY customer_id
"""


class Gaps(NamedTuple):
    customer_id: str
    tenant: str
    first: datetime
    second: datetime | None
    days: int | None


def blocks(language: str) -> list[str]:
    """The document's code blocks in a language, as written."""
    text = DOCUMENT.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def write_example(folder: Path) -> None:
    """The files, as the document has them."""
    (folder / f"{MODULE}.py").write_text(blocks("python")[0], encoding="utf-8")
    (folder / f"{MODULE}.sql").write_text(blocks("sql")[0], encoding="utf-8")


def expected_gaps(events: Iterable[RecordedEvent]) -> list[Gaps]:
    """What the whole log amounts to."""
    last: dict[tuple[str, str], dict[str, Order]] = {}
    deleted: set[str] = set()
    for each in events:
        if isinstance(each.event, OrderRecorded):
            orders = last.setdefault((each.customer_id, each.tenant), {})
            orders[each.event.order.order_id] = each.event.order
        elif isinstance(each.event, CustomerDeleted):
            deleted.add(each.customer_id)
    found: list[Gaps] = []
    for (customer_id, tenant), orders in sorted(last.items()):
        times = sorted(
            order.placed_at.astimezone(UTC)
            for order in orders.values()
            if order.status in {"placed", "paid", "completed"} and not order.test
        )
        if times and customer_id not in deleted:
            second = times[1] if len(times) > 1 else None
            days = (second - times[0]) // timedelta(days=1) if second is not None else None
            found.append(Gaps(customer_id, tenant, times[0], second, days))
    return found


async def shown_gaps(postgres: Postgres) -> Sequence[Gaps]:
    return await postgres.fetch(Gaps, SHOWN)


def a_history_of_sales(choose: Random, *, steps: int, **more: Any) -> list[RecordedEvent]:
    """As `a_history`, with orders placed over a year."""

    def placed(each: RecordedEvent) -> RecordedEvent:
        if not isinstance(each.event, OrderRecorded):
            return each
        placed_at = MOMENT + timedelta(hours=choose.randrange(365 * 24))
        order = each.event.order.model_copy(update={"placed_at": placed_at})
        return each._replace(event=OrderRecorded(order=order))

    return [placed(each) for each in a_history(choose, steps=steps, **more)]


class Added(NamedTuple):
    """A projection that was added, over a log, and its workers."""

    world: Projected
    derived: Derived

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.world.postgres, self.derived.projection)

    def store(self, postgres: Postgres | None = None) -> DerivedStore:
        return DerivedStore(postgres or self.world.postgres, self.derived)

    def applier(self, postgres: Postgres | None = None) -> DerivedApplier:
        postgres = postgres or self.world.postgres
        log = EventLog(postgres, VAULT)
        return DerivedApplier(self.derived, self.store(postgres), log, self.world.observed)

    def runner(self, postgres: Postgres | None = None, *, batch_events_max: int = 50) -> Runner:
        postgres = postgres or self.world.postgres
        log = EventLog(postgres, VAULT)
        checkpoints = Checkpoints(postgres, self.derived.projection)
        source = LogSource(
            *(postgres, log, checkpoints),
            batch_events_max=batch_events_max,
            standby_seconds=0.05,
        )
        applier = self.applier(postgres)
        return Runner(
            DerivedSource(source, self.store(postgres), applier),
            *(applier, log, checkpoints),
            metrics=self.world.observed,
        )

    async def is_up_to_date(self) -> bool:
        head = await EventLog(self.world.postgres).head()
        return await self.checkpoints.position() == head.position

    async def parked(self) -> Sequence[tuple[str, int, str]]:
        """Who waits, before which version, and why."""
        return await self.world.postgres.fetch(
            lambda *row: row,
            "SELECT customer_id, stream_version, reason FROM projection.parked"
            " WHERE projection = $1 AND version = $2 ORDER BY customer_id",
            *self.derived.key,
        )

    async def page(self) -> list[StoredEvent]:
        return await EventLog(self.world.postgres, VAULT).page(Position(0))
