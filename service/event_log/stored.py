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
from service.postgres import RowMaker
from service.snapshots import SNAPSHOT_TYPE, State, decode_state
from service.vault import CustomerKey, Opener, Vault, place

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
    meta: str  # empty where it was not asked for
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
    data: str | None  # with blanks where something is sealed; perhaps None where that opens
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


class RowOpener:
    """Makes events of one statement's rows. What does not open is told by Corrupt, or `is_damaged`
    where that is borne. Whoever reads nothing that is sealed needs no `vault`."""

    def __init__(self, vault: Vault | None, *, bears_damage: bool = False) -> None:
        self._opener = None if vault is None else Opener(vault)
        self._bears_damage = bears_damage

    def in_log(self, before: int, *columns: object) -> tuple[int, StoredEvent | None]:
        """An event and what stands before it; None: there is none, and only that was asked for."""
        make: RowMaker[StoredEvent] = self.event
        return before, None if columns[0] is None else make(*columns)

    def of_tenant(
        self, before: int, last: int | None, *columns: object
    ) -> tuple[int, int, StoredEvent | None]:
        """The same with a second number before it; 0 where that is null."""
        return before, last or 0, self.in_log(0, *columns)[1]

    def opened(self, row: Row) -> StoredEvent:
        return self.event(*row)

    def event(
        self,
        position: int,
        key: UUID,
        tenant: str,
        customer_id: str,
        version: int,
        kind: str,
        schema_version: int,
        data: str | None,
        meta: str,
        time: datetime,
        sealed: bytes | None,
        wrapped: bytes | None,
        is_destroyed: bool | None,
    ) -> StoredEvent:
        """Of the fields of a Row."""
        is_damaged = False
        if sealed is not None and not is_destroyed:
            opener = self._opener
            assert opener is not None, "events are read with the vault that opens them"
            try:
                data = opener.open(customer_id, kind, schema_version, version, sealed, wrapped)
            except Corrupt as error:
                if not self._bears_damage:
                    raise
                log = structlog.get_logger()
                log.warning("event_not_opened", position=position, reason=str(error))
                data, is_damaged = NO_DATA, True
        assert data is not None, "what is not opened is read"
        return StoredEvent(
            position,
            key,
            tenant,
            customer_id,
            version,
            kind,
            schema_version,
            data,
            meta,
            time,
            sealed is not None and bool(is_destroyed),
            is_damaged,
        )

    def state(
        self,
        customer_id: str,
        version: int,
        schema_version: int,
        sealed: bytes,
        wrapped: bytes | None,
    ) -> State:
        """Of a snapshot. Raises Corrupt where it, or the key, is lost or damaged."""
        key = self.key(customer_id, wrapped)
        where = place(customer_id, SNAPSHOT_TYPE, schema_version, version)
        return decode_state(schema_version, key.open(sealed, where))

    def key(self, customer_id: str, wrapped: bytes | None) -> CustomerKey:
        """Raises Corrupt where it is lost or damaged."""
        assert self._opener is not None, "events are read with the vault that opens them"
        return self._opener.key(customer_id, wrapped)
