"""What the system shows at the end, asked as callers ask, and of the database's rows.

Invariant: everything is asked once the system has come to rest, and nothing of it is the service's
own code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

import aiohttp
import asyncpg

from tests.chaos.book import Json
from tests.chaos.orders import Order
from tests.system.installation import Installation

ASKED_AT_ONCE = 16
PAGE = 100
STILL_SECONDS = 60.0  # without any progress: what has not come by now does not come
POLL_SECONDS = 0.25
ATTEMPTS_MAX = 20  # `minPosition` waits two seconds at a time
COMMAND_TIMEOUT_SECONDS = 30.0

# What a connection may say that is cut while it is used.
DATABASE_AWAY = (
    *(OSError, TimeoutError, asyncpg.PostgresError),
    *(asyncpg.InterfaceError, asyncpg.InternalClientError),
)

HEAD = "SELECT epoch, position FROM log.head"
# Of the read model, and of the topic of states behind it.
SHOWN = "SELECT coalesce(min(position), 0) FROM projection.checkpoint"
PARKED = "SELECT count(*) FROM read_model.parked"
BEHIND = """
SELECT count(*) FROM unnest($1::text[], $2::bigint[]) AS sent (order_id, order_version)
LEFT JOIN log.accepted_order AS held ON held.tenant = 'default' AND held.order_id = sent.order_id
WHERE held.order_version IS DISTINCT FROM sent.order_version
"""
TOTALS = """
SELECT currency, count(*) FILTER (WHERE is_countable), sum(amount)::bigint
FROM read_model.contribution GROUP BY currency ORDER BY currency
"""


@dataclass(frozen=True, slots=True)
class Head:
    epoch: str
    position: int
    shown: int  # everything up to here is in the read model, and in the topic of states


async def look(database_url: str) -> Head | None:
    """None where the database does not answer."""
    try:
        connection = await asyncpg.connect(database_url, timeout=3, command_timeout=3)
        try:
            epoch, position = await connection.fetchrow(HEAD)
            return Head(epoch, position, await connection.fetchval(SHOWN))
        finally:
            connection.terminate()
    except DATABASE_AWAY:
        return None


async def come_to_rest(database_url: str, orders: Sequence[Order]) -> tuple[Head, list[str]]:
    """Wait until every order is in the log, and all of it is shown; the log's end, and what was
    not so in time."""
    ids = [order["orderId"] for order in orders]
    versions = [order["orderVersion"] for order in orders]
    seen, seen_at = (-1, -1, -1), monotonic()
    connection = await asyncpg.connect(database_url, command_timeout=COMMAND_TIMEOUT_SECONDS)
    try:
        while True:
            behind = await connection.fetchval(BEHIND, ids, versions)
            epoch, position = await connection.fetchrow(HEAD)
            shown = await connection.fetchval(SHOWN)
            parked = await connection.fetchval(PARKED)
            if not behind and shown >= position:
                return Head(epoch, position, shown), [f"{parked} customers are parked"] * (
                    parked > 0
                )
            if (behind, position, shown) != seen:
                seen, seen_at = (behind, position, shown), monotonic()
            if monotonic() - seen_at > STILL_SECONDS:
                told = f"{behind} orders were not taken in, {shown} of {position} is shown"
                return Head(epoch, position, shown), [told]
            await asyncio.sleep(POLL_SECONDS)
    finally:
        await connection.close()


async def totals(database_url: str) -> dict[str, tuple[int, int]]:
    """Of the whole store by currency: countable orders, and spend."""
    connection = await asyncpg.connect(database_url, command_timeout=COMMAND_TIMEOUT_SECONDS)
    try:
        rows = await connection.fetch(TOTALS)
    finally:
        await connection.close()
    return {currency: (count, spent) for currency, count, spent in rows if count}


class Asking:
    """A caller who only reads."""

    def __init__(self, system: Installation, urls: Sequence[str]) -> None:
        self._system = system
        self._urls = urls
        self._slots = asyncio.Semaphore(ASKED_AT_ONCE)

    async def customers(self, ids: Iterable[str]) -> dict[str, Json | None]:
        """None for the deleted."""
        every = sorted(set(ids))
        found = await asyncio.gather(*(self._customer(each) for each in every))
        return dict(zip(every, found, strict=True))

    async def _customer(self, customer_id: str) -> Json | None:
        status, body = await self._get(f"/user/{customer_id}", customer_id)
        if status == 404 and body["code"] == "customer_deleted":
            return None
        assert status == 200, (customer_id, body)
        return body

    async def histories(self, ids: Iterable[str]) -> Mapping[str, list[Json]]:
        """Of living customers."""
        every = sorted(set(ids))
        found = await asyncio.gather(*(self._history(each) for each in every))
        return dict(zip(every, found, strict=True))

    async def _history(self, customer_id: str) -> list[Json]:
        events: list[Json] = []
        query = f"display={PAGE}"
        while True:
            path = f"/user/{customer_id}/events?{query}"
            status, body = await self._get(path, customer_id)
            assert status == 200, (customer_id, body)
            events += body["events"]
            if body["nextCursor"] is None:
                return events
            query = f"display={PAGE}&cursor={body['nextCursor']}"

    async def listed(self, position: int) -> tuple[int, list[Json]]:
        """The count and all models, page by page."""
        models: list[Json] = []
        query = f"minPosition={position}&display={PAGE}"
        for _ in range(ATTEMPTS_MAX):
            status, body = await self._get(f"/user?{query}", "")
            if status == 200:
                break
        while True:
            assert status == 200, body
            models += body["models"]
            if body["nextCursor"] is None:
                return int(body["count"]), models
            query = f"display={PAGE}&cursor={body['nextCursor']}"
            status, body = await self._get(f"/user?{query}", "")

    async def _get(self, path: str, spread: str) -> tuple[int, Json]:
        """Overload and a broken connection are no answer: asked again."""
        async with self._slots:
            for attempt in range(ATTEMPTS_MAX):
                url = self._urls[(hash(spread) + attempt) % len(self._urls)] + path
                try:
                    async with self._system.session.get(
                        url, headers=self._system.headers
                    ) as answer:
                        body = await answer.json(content_type=None)
                        if body.get("code") not in {"overloaded", "database_unavailable"}:
                            return answer.status, body
                except (aiohttp.ClientError, TimeoutError):
                    pass
                await asyncio.sleep(POLL_SECONDS)
        raise AssertionError(f"{path} was not answered")
