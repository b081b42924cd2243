"""Roughly how many customers there are, and how many carry a tag: what plans are chosen by.

Invariant: these numbers choose how a list is read, never what it says: they may be a minute old.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from service.postgres import Postgres, load_statements

FRESH_SECONDS = 30.0
KEPT_COUNTS_MAX = 10_000
_EVERYBODY = ""  # no tag is called so

SQL = load_statements("service", "queries.sql")


class Members(NamedTuple):
    """Customers with a tag, or all of a tenant's."""

    active: int
    inactive: int

    def number(self, active: bool | None) -> int:
        """Of those that are active, are not, or either."""
        if active is None:
            return self.active + self.inactive
        return self.active if active else self.inactive


NOBODY = Members(0, 0)


class _Row(NamedTuple):
    name: str
    active: int
    inactive: int


@dataclass(slots=True)
class _Kept:
    members: Members
    fresh_until: float  # by the event loop's clock


class Population:
    """Counts by tenant and tag, kept for a short while."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()

    async def members(self, tenant: str, tags: Sequence[str] = ()) -> list[Members]:
        """Of the whole tenant, then of each tag in its order."""
        names = (_EVERYBODY, *tags)
        now = asyncio.get_running_loop().time()
        stale = [name for name in names if self._is_stale((tenant, name), now)]
        if stale:
            await self._load(tenant, stale, now)
        kept = (self._kept.get((tenant, name)) for name in names)
        return [each.members if each else NOBODY for each in kept]

    def _is_stale(self, key: tuple[str, str], now: float) -> bool:
        kept = self._kept.get(key)
        if kept is None:
            return True
        if kept.fresh_until > now:
            return False
        kept.fresh_until = now + FRESH_SECONDS  # one asks again, the others go on with this
        return True

    async def _load(self, tenant: str, names: Sequence[str], now: float) -> None:
        rows = await self._postgres.fetch(_Row, SQL["members"], tenant, names)
        found = {name: Members(active, inactive) for name, active, inactive in rows}
        for name in names:
            self._kept[tenant, name] = _Kept(found.get(name, NOBODY), now + FRESH_SECONDS)
            self._kept.move_to_end((tenant, name))
        while len(self._kept) > KEPT_COUNTS_MAX:
            self._kept.popitem(last=False)
