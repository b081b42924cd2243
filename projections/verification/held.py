"""What the tables hold of some customers, read in one snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from service.postgres import Reader


class Stream(NamedTuple):
    """A customer in the log, and the row that shows it; `shown_version` 0 where there is none."""

    customer_id: str
    tenant: str
    version: int
    is_closed: bool
    currency: str
    shown_version: int
    shown_tenant: str | None
    position: int | None
    document: str | None
    item: str | None
    is_stale: bool
    reference: str | None
    parked_version: int | None
    parked_reason: str | None
    is_archived: bool  # the beginning of the stream: it cannot be folded


class Profile(NamedTuple):
    id: str
    tenant: str
    created_at: datetime
    email: str
    email_key: str
    first_key: str | None
    last_key: str | None
    is_active: bool
    tags: Sequence[str]


class Activity(NamedTuple):
    id: str
    tenant: str
    total_spent: int
    order_count: int
    updated_at: datetime
    last_order_at: datetime | None
    is_active: bool
    tags: Sequence[str]


class Search(NamedTuple):
    id: str
    tenant: str
    words: str
    grams: Sequence[int]


class Held(NamedTuple):
    """Rows by customer; orders by their owner, who is a customer or a reference."""

    profiles: Mapping[str, Profile]
    activities: Mapping[str, Activity]
    searches: Mapping[str, Search]
    orders: Mapping[str, Mapping[str, tuple[object, ...]]]
    anonymous: Mapping[str, tuple[object, ...]]


async def read_held(
    reader: Reader, sql: Mapping[str, str], customer_ids: Sequence[str], references: Sequence[str]
) -> Held:
    """`sql`: the statements of verification.sql for the version that is looked at."""
    owners = [*customer_ids, *references]
    orders: dict[str, dict[str, tuple[object, ...]]] = {}
    for row in await reader.fetch(_columns, sql["contributions"], owners):
        orders.setdefault(str(row[0]), {})[str(row[1])] = row[2:]
    anonymous = await reader.fetch(_columns, sql["anonymous"], references)
    return Held(
        {row.id: row for row in await reader.fetch(Profile, sql["profiles"], customer_ids)},
        {row.id: row for row in await reader.fetch(Activity, sql["activities"], customer_ids)},
        {row.id: row for row in await reader.fetch(Search, sql["searches"], customer_ids)},
        orders,
        {str(row[0]): row[1:] for row in anonymous},
    )


def _columns(*columns: object) -> tuple[object, ...]:
    return columns
