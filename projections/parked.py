"""Parked customers: who they are, where each one stands, and how one leaves, in SQL.

Invariant: a customer leaves only in a transaction in which its row shows all of its stream, and in
which nobody can append to that stream. So no event is ever left that neither a worker nor the
release has applied.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import NamedTuple

from projections.checkpoint import CUSTOMERS, Followed
from projections.customers import Reason, Stop
from projections.rows import Rows
from projections.store import Contended, Store
from projections.versions import statements
from service.postgres import Postgres, Transaction, load_statements

PAGE_CUSTOMERS_MAX = 500

LIST = load_statements("projections", "parked.sql")["list"]


class Parked(NamedTuple):
    """A parked customer, for people: the first event that is not shown, and how many are not."""

    customer_id: str
    tenant: str
    version: int
    position: int
    reason: str
    since: datetime
    waiting: int


class Held(NamedTuple):
    """Where a parked customer stood when it was looked at."""

    tenant: str
    stream_version: int
    position: int
    reason: Reason
    shown_version: int  # 0 = no row
    shown_position: int
    is_closed: bool  # the stream


class Step(NamedTuple):
    """What is written of one customer at once, and where it stops then; None = nowhere."""

    customer_id: str
    rows: Rows
    version: int  # that the row shows afterwards
    stop: Stop | None


class ParkedStore:
    """Reads who is parked, and writes what lets a customer go on."""

    def __init__(self, postgres: Postgres, store: Store) -> None:
        self._postgres = postgres
        self._store = store
        self._sql = statements("parked.sql", store.version)

    async def held(self, customer_id: str) -> Held | None:
        """None where the customer is not parked."""
        return await self._postgres.fetch_one(Held, self._sql["held"], customer_id)

    async def tenant_of(self, customer_id: str) -> str | None:
        """None where the log knows no such customer."""
        return await self._postgres.fetch_one(str, self._sql["tenant_of"], customer_id)

    async def write(self, step: Step, held: Held) -> None:
        """Write a step, if nothing has changed since the customer was looked at.

        Raises Contended where something has; Unavailable; Corrupt where a value is refused.
        """
        await self._store.learn(step.rows)
        async with self._postgres.transaction() as transaction:
            amendment = await transaction.fetch(int, self._sql["amend"])
            await self._check_unmoved(transaction, step.customer_id, held)
            await self._store.write_in(transaction, step.rows, [])
            if step.stop is None:
                await transaction.execute(self._sql["leave"], step.customer_id)
            else:
                await transaction.execute(self._sql["stay"], step.customer_id, *_columns(step.stop))
            await transaction.execute(
                self._sql["set_stale"], step.customer_id, step.stop is not None
            )
            await transaction.execute(self._sql["outdate_state"], step.customer_id, amendment[0])
            await self._check_stream(transaction, step, held)

    async def _check_unmoved(self, transaction: Transaction, customer_id: str, held: Held) -> None:
        shown = await transaction.fetch(_pair, self._sql["lock_shown"], customer_id)
        parked = await transaction.fetch(_pair, self._sql["lock_parked"], customer_id)
        wanted = (held.shown_version, held.shown_position)
        if (shown or [(0, 0)]) != [wanted] or parked != [(held.stream_version, held.position)]:
            raise Contended("a parked customer has been changed")

    async def _check_stream(self, transaction: Transaction, step: Step, held: Held) -> None:
        """A deletion meanwhile has taken the key of what was read before; start again."""
        for version, is_closed in await transaction.fetch(
            _stream, self._sql["lock_stream"], step.customer_id
        ):
            if is_closed != held.is_closed or (step.stop is None and version != step.version):
                raise Contended("the stream has gone on")


async def parked_customers(
    postgres: Postgres, tenant: str | None = None, projection: Followed = CUSTOMERS
) -> AsyncIterator[Parked]:
    """All that a projection has parked, the read model or one that was added, or those of one
    tenant, by id; a page in memory at a time."""
    after, key = "", (projection.name, projection.version)
    while True:
        page = await postgres.fetch(Parked, LIST, after, tenant, PAGE_CUSTOMERS_MAX, *key)
        for each in page:
            yield each
        if len(page) < PAGE_CUSTOMERS_MAX:
            return
        after = page[-1].customer_id


def _columns(stop: Stop) -> tuple[int, int, str]:
    return stop.version, stop.position, stop.reason


def _pair(version: int, position: int) -> tuple[int, int]:
    return version, position


def _stream(version: int, is_closed: bool, _: str) -> tuple[int, bool]:
    return version, is_closed
