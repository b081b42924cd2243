"""An event exactly as it is stored, and a digest of a stretch of them; pure.

Invariant: the digest covers every column, and the database makes the same one by itself (`digest`
in log_archive.sql), so a file that agrees with it has lost and changed nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

CHUNK_EVENTS = 500  # read and compared at once; 128 MB where each is as large as a body allows

_BEGINNING = datetime.fromtimestamp(0, UTC)


class StoredRow(NamedTuple):
    """The columns of log.event. `data` and `meta` are JSON as PostgreSQL tells it."""

    position: int
    id: UUID
    tenant: str
    customer_id: str
    version: int
    type: str
    schema_version: int
    data: str
    sealed: bytes | None
    meta: str
    recorded_ms: int  # since 1970; what is stored has no smaller parts

    def columns(self) -> tuple[object, ...]:
        """As COPY takes them."""
        return (*self[:10], _BEGINNING + timedelta(milliseconds=self.recorded_ms))


COLUMNS = (*StoredRow._fields[:10], "recorded_at")


def digest(rows: Sequence[StoredRow]) -> str:
    """SHA-256 in hex. Texts carry their lengths, so no two stretches look the same."""
    hashed = hashlib.sha256()
    for number, row in enumerate(rows):
        hashed.update(("\n" if number else "").encode() + _text(row).encode())
    return hashed.hexdigest()


def _text(row: StoredRow) -> str:
    numbers = (row.position, row.id, row.version, row.schema_version, row.recorded_ms)
    sealed = "-" if row.sealed is None else row.sealed.hex()
    texts = (row.tenant, row.customer_id, row.type, row.data, row.meta)
    told = (f"{len(text.encode())}:{text}" for text in texts)
    return "|".join((*map(str, numbers), sealed, *told))
