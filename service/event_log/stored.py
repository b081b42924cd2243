"""Events as they lie in the log, and how what is sealed of them is opened.

Invariant: whether a customer is forgotten is what each row says, that is the database at the moment
of its statement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

import structlog

from service.errors import Corrupt
from service.events import Position, RecordedEvent, Version, decode, decode_meta
from service.identifiers import CustomerId
from service.postgres import RowMaker
from service.vault import Opener, Vault

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


class Opening:
    """Makes events of one statement's rows: sealed, where they have personal fields, beside their
    key. What does not open is told by Corrupt, or `is_damaged` where that is borne."""

    def __init__(self, vault: Vault | None, *, bears_damage: bool) -> None:
        self._opener = None if vault is None else Opener(vault)
        self._bears_damage = bears_damage

    def event(
        self,
        position: int,
        key: UUID,
        tenant: str,
        customer_id: str,
        version: int,
        kind: str,
        schema_version: int,
        data: str | None,  # with blanks where something is sealed; perhaps None where that opens
        meta: str,
        time: datetime,
        sealed: bytes | None,
        wrapped: bytes | None,
        is_destroyed: bool | None,
    ) -> StoredEvent:
        is_damaged = False
        if sealed is not None and not is_destroyed:
            assert self._opener is not None, "events are read with the vault that opens them"
            try:
                data = self._opener.open(
                    customer_id, kind, schema_version, version, sealed, wrapped
                )
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

    def in_log(self, log_end: int, *columns: object) -> tuple[StoredEvent, int]:
        make: RowMaker[StoredEvent] = self.event
        return make(*columns), log_end

    def later(self, *columns: object) -> Callable[[], StoredEvent]:
        make: RowMaker[StoredEvent] = self.event
        return partial(make, *columns)


class Page(list[StoredEvent]):
    """Events in position order. `goes_on`: the log held more after them when they were read."""

    def __init__(self, events: Iterable[StoredEvent], *, goes_on: bool) -> None:
        super().__init__(events)
        self.goes_on = goes_on
