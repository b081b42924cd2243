"""One customer by id, always current.

Invariant: the stored document is answered only where it shows the stream's version; else the log is
folded. Both are looked at in one statement, so in one snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from service.customer import Customer, evolve
from service.errors import Corrupt, EventsArchived, NotFound
from service.event_log import EventLog
from service.events import Position, Version
from service.identifiers import CustomerId
from service.postgres import Postgres, load_statements
from service.queries.loader import Loader
from service.snapshots import Snapshot

BATCH_CUSTOMERS_MAX = 200

SQL = load_statements("service", "queries.sql")


class Found(NamedTuple):
    """A living customer: finished JSON of its document, and the places of its latest event."""

    document: bytes
    version: Version
    position: Position


class Standing(NamedTuple):
    """Where a customer stands in the log, and its document as of then."""

    customer_id: str
    tenant: str
    version: int
    position: int
    is_closed: bool
    document: str | None  # None: the read model is behind


class CustomerQuery:
    """Gets that wait at the same moment share a statement."""

    def __init__(
        self, postgres: Postgres, event_log: EventLog, *, statements_at_once_max: int
    ) -> None:
        self._postgres = postgres
        self._event_log = event_log
        self._standings: Loader[CustomerId, Standing | None] = Loader(
            self._fetch, batch_keys_max=BATCH_CUSTOMERS_MAX, batches_max=statements_at_once_max
        )

    async def get(self, tenant: str, customer_id: CustomerId, currency: str) -> Found:
        """Raises NotFound (`customer_not_found`, `customer_deleted`), Unavailable."""
        standing = await self.living(tenant, customer_id)
        if standing.document is None:
            return await self._fold(tenant, customer_id, currency)
        document = standing.document.encode()
        return Found(document, Version(standing.version), Position(standing.position))

    async def get_then(
        self,
        tenant: str,
        customer_id: CustomerId,
        currency: str,
        *,
        at: datetime | None,
        version: int | None,
    ) -> Found:
        """A living customer as it was at this time (None: any), at this version (None: the last).

        Raises NotFound, `customer_not_found` also before its creation and for a later version;
        EventsArchived where the events up to then are.
        """
        standing = await self.living(tenant, customer_id)
        if version is not None and version > standing.version:
            raise NotFound("customer_not_found")
        customer: Customer | None = None
        position = Position(0)
        async for event in self._event_log.folding(tenant, customer_id):
            if isinstance(event, Snapshot) and _is_needed_before(event, at, version):
                raise EventsArchived(await self._event_log.archived_to())
            if at is not None and event.time > at:
                break
            customer, position = evolve(customer, event), event.position
            if event.version == version:
                break
        if customer is None or (version is not None and customer.version != version):
            raise NotFound("customer_not_found")
        await self.living(tenant, customer_id)  # a deletion since then blanks what was read
        return Found(customer.document(currency).json_bytes(), customer.version, position)

    async def living(self, tenant: str, customer_id: CustomerId) -> Standing:
        """Raises NotFound (`customer_not_found`, `customer_deleted`), Unavailable."""
        standing = None
        if customer_id.isascii() and "\0" not in customer_id:
            standing = await self._standings.load(customer_id)
        if standing is None or standing.tenant != tenant:
            raise NotFound("customer_not_found")
        if standing.is_closed:
            raise NotFound("customer_deleted")
        return standing

    async def _fetch(self, customer_ids: Sequence[CustomerId]) -> list[Standing | None]:
        rows = await self._postgres.fetch(Standing, SQL["customers_by_id"], customer_ids)
        standings = {row.customer_id: row for row in rows}
        return [standings.get(customer_id) for customer_id in customer_ids]

    async def _fold(self, tenant: str, customer_id: CustomerId, currency: str) -> Found:
        customer: Customer | None = None
        position = Position(0)
        async for event in self._event_log.folding(tenant, customer_id):
            customer = evolve(customer, event)
            position = event.position
        if customer is None:
            raise Corrupt(f"the stream of {customer_id} has no events")
        if customer.is_deleted:
            raise NotFound("customer_deleted")
        return Found(customer.document(currency).json_bytes(), customer.version, position)


def _is_needed_before(snapshot: Snapshot, at: datetime | None, version: int | None) -> bool:
    """Whether what is asked for lies before it, and not before the creation."""
    if at is not None:
        return snapshot.state.created_at <= at < snapshot.time
    return version is not None and version < snapshot.version
