"""What PostgreSQL holds of a customer: every row that names it, and every event, read again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import orjson

from service.erasure.report import Finding
from service.errors import Corrupt, NotFound
from service.event_log import EventLog
from service.events import CustomerDeleted, Version, encode
from service.identifiers import CustomerId
from service.postgres import Postgres, load_statements
from service.vault import blanked

SQL = load_statements("service", "erasure.sql")


class _Deletion(NamedTuple):
    tenant: str
    deleted_at: datetime | None


async def deleted_at(postgres: Postgres, tenant: str, customer_id: CustomerId) -> datetime | None:
    """None: it was not deleted. Raises NotFound where the tenant never had such a customer."""
    if not (customer_id.isascii() and customer_id.isprintable()):
        raise NotFound("customer_not_found")
    kind = CustomerDeleted.type
    found = await postgres.fetch_one(_Deletion, SQL["deletion"], customer_id, kind)
    if found is None or found.tenant != tenant:
        raise NotFound("customer_not_found")
    return found.deleted_at


async def look_in_database(
    postgres: Postgres, log: EventLog, tenant: str, customer_id: CustomerId
) -> list[Finding]:
    """Tables by name, those of every version of the read model, then the events."""
    tables = await postgres.fetch(Finding, SQL["held"], customer_id)
    for schema in await postgres.fetch(str, SQL["unread_schemas"]):
        held = SQL["held_unread"].replace("{schema}", schema)
        tables += await postgres.fetch(Finding, held, customer_id)
    return [*tables, await _events(postgres, log, tenant, customer_id)]


async def unclean_tables(postgres: Postgres, since: datetime) -> Sequence[str]:
    """Tables that may hold dead rows from before: docs/operations.md, "What VACUUM does"."""
    return await postgres.fetch(str, SQL["unclean"], since)


async def _events(
    postgres: Postgres, log: EventLog, tenant: str, customer_id: CustomerId
) -> Finding:
    """Readable is what has a personal value, whatever it says of itself; or does not open.

    What is archived lies sealed in files, and opens by the customer's key alone.
    """
    archived = await postgres.fetch_one(int, SQL["left_in_log"], customer_id) or 0
    note = None
    if archived:
        note = f"{archived:,} events are archived: they open by the customer's key alone"
    held = readable = 0
    try:
        async for event in log.stream(tenant, customer_id, after=Version(archived)):
            held += 1
            data = encode(event.event)
            blank = blanked(event.event.type, data)
            if blank is not None and orjson.loads(blank) != orjson.loads(data):
                readable += 1
    except Corrupt as error:
        return Finding("log.event", held + 1, readable + 1, note=str(error))
    return Finding("log.event", held, readable, note=note)
