"""An event as it lies in the log, and what of it is opened.

Invariant: what a deletion has forgotten is blank and says so; what is lost or damaged is never
taken for that, and stops whoever needs it, and nobody else.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import structlog

from service.errors import Corrupt
from service.events import (
    Position,
    RecordedEvent,
    Version,
    decode,
    decode_meta,
    traceparent_in,
)
from service.identifiers import CustomerId
from service.vault import CustomerKey, Vault, place

NO_DATA = "{}"  # of an event that does not open


class StoredEvent(NamedTuple):
    """An event as it lies in the log, for readers that pass its JSON on without decoding it."""

    position: int
    id: UUID
    tenant: str
    customer_id: str
    version: int
    type: str
    schema_version: int
    data: str
    meta: str
    time: datetime
    is_forgotten: bool = False  # the key is destroyed: what was personal in `data` is blank
    is_damaged: bool = False  # it does not open: `data` is empty, and fits no model

    @property
    def traceparent(self) -> str | None:
        return traceparent_in(self.meta)

    def decoded(self) -> RecordedEvent:
        """Raises Corrupt where no model of this release fits."""
        return RecordedEvent(
            position=Position(self.position),
            key=self.id.bytes,
            tenant=self.tenant,
            customer_id=CustomerId(self.customer_id),
            version=Version(self.version),
            time=self.time,
            event=decode(self.type, self.schema_version, self.data),
            meta=decode_meta(self.meta),
            is_forgotten=self.is_forgotten,
        )


class Row(NamedTuple):
    """An event as it lies in the log: sealed, where it has personal fields, beside its key."""

    position: int
    id: UUID
    tenant: str
    customer_id: str
    version: int
    type: str
    schema_version: int
    data: str  # with blanks where something is sealed
    meta: str
    time: datetime
    sealed: bytes | None
    wrapped: bytes | None
    is_destroyed: bool | None


class Page(list[StoredEvent]):
    """Events in position order. `goes_on`: the log held more after them when they were read."""

    def __init__(self, events: Iterable[StoredEvent], *, goes_on: bool) -> None:
        super().__init__(events)
        self.goes_on = goes_on


class Opener:
    """`vault` opens what is sealed; whoever reads nothing of that needs none."""

    def __init__(self, vault: Vault | None) -> None:
        self._vault = vault

    def opened_or_damaged(self, row: Row) -> StoredEvent:
        try:
            return self.opened(row)
        except Corrupt as error:
            log = structlog.get_logger()
            log.warning("event_not_opened", position=row.position, reason=str(error))
            return StoredEvent(*row[:7], NO_DATA, row.meta, row.time, is_damaged=True)

    def opened(self, row: Row) -> StoredEvent:
        """Raises Corrupt for what is lost or damaged."""
        if row.sealed is None:
            return StoredEvent(*row[:10])
        if row.is_destroyed:
            return StoredEvent(*row[:10], is_forgotten=True)
        where = place(row.customer_id, row.type, row.schema_version, row.version)
        data = self.key(row.customer_id, row.wrapped).open(row.sealed, where).decode()
        return StoredEvent(*row[:7], data, row.meta, row.time)

    def key(self, customer_id: str, wrapped: bytes | None) -> CustomerKey:
        """Raises Corrupt where it is lost or damaged."""
        if wrapped is None:
            raise Corrupt(f"the key of {customer_id} is lost, and it was not deleted")
        assert self._vault is not None, "events are read with the vault that opens them"
        return self._vault.unwrap(CustomerId(customer_id), wrapped)
