"""Reads one page of a list from the database, most often in one statement.

Invariant: the plan decides what a list costs, never what it says; count, rows and mark belong to
one state of the read model. Lists hold only a share of the pool's connections, so that slow ones do
not stop the rest.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import replace
from typing import TypeAlias, TypeVar

from service.errors import Unavailable
from service.list_request import SortKey
from service.postgres import Postgres, RowMaker
from service.queries.criteria import Criteria
from service.queries.known_counts import KnownCount, KnownCounts
from service.queries.list_answer import Answer, answer, counted
from service.queries.list_plan import (
    SPARSE_SHARE,
    Known,
    Plan,
    Wanted,
    counting,
    must_count,
    needs_matches,
    needs_population,
    plan,
)
from service.queries.list_shape import Shape
from service.queries.list_statement import count_statement, list_statement
from service.queries.pieces import Statement
from service.queries.population import NOBODY, Population

TURN_WAIT_SECONDS = 5.0
CUT_WALKS_MAX = 1_000
CUT_WALK_SECONDS = 60.0  # for so long a walk that ended too early is not tried again

Row = TypeVar("Row")
Values: TypeAlias = dict[str, object]
_Walk: TypeAlias = tuple[Criteria, tuple[SortKey, ...], bool]


class ListReader:
    """Holds what choosing plans needs to know; the lists themselves it forgets."""

    def __init__(self, postgres: Postgres, statements_at_once_max: int) -> None:
        self._postgres = postgres
        self._population = Population(postgres)
        self._counts = KnownCounts()
        self._turns = asyncio.Semaphore(statements_at_once_max)
        self._cut_walks: OrderedDict[_Walk, float] = OrderedDict()  # until when, loop's clock

    async def read(self, wanted: Wanted, values: Values) -> Answer:
        """The page's rows in the wanted order, one more where there is a next page."""
        walk = (wanted.criteria, wanted.sort, wanted.offset == 0 and not wanted.after)
        if self._is_cut(walk):
            wanted = replace(wanted, is_walk_cut=True)
        values |= {"rows": wanted.rows, "offset": wanted.offset}
        known = await self._known(wanted, values)
        found = await self._answer(wanted, plan(wanted, known), values)
        if found.is_cut:
            self._remember_cut(walk)
            found = await self._answer(
                wanted, plan(replace(wanted, is_walk_cut=True), known), values
            )
        return found

    async def _known(self, wanted: Wanted, values: Values) -> Known:
        if not needs_population(wanted):
            return Known(NOBODY)
        criteria = wanted.criteria
        everybody, *tagged = await self._population.members(criteria.tenant, criteria.tags)
        known = Known(everybody, tagged)
        if not needs_matches(wanted):
            return known
        if criteria.is_bounded_in_both_tables():
            known = await self._weigh_creation(wanted, known, values)
        count = self._counts.get(criteria)
        if count is None and must_count(wanted, known):
            count = await self._count(wanted, known, values)
        return replace(known, matches=count.matches if count else None)

    async def _weigh_creation(self, wanted: Wanted, known: Known, values: Values) -> Known:
        """Counters of days tell quickly whether few customers were created in the range."""
        alone = replace(wanted, criteria=wanted.criteria.created_alone())
        untagged = replace(known, tagged=())
        count = self._counts.get(alone.criteria) or await self._count(alone, untagged, values)
        is_small = count.matches * SPARSE_SHARE < known.everybody.number(None)
        return replace(known, is_created_range_small=is_small)

    async def _count(self, wanted: Wanted, known: Known, values: Values) -> KnownCount:
        time = asyncio.get_running_loop().time
        started = time()
        statement = count_statement(counting(wanted, known))
        mark, matches = await self._fetch(counted, statement, values)
        count = KnownCount(mark, matches, time() - started)
        self._counts.put(wanted.criteria, count)
        return count

    async def _answer(self, wanted: Wanted, chosen: Plan, values: Values) -> Answer:
        """With a count from before, if it is worth it and still holds; else counted anew."""
        values["entries_max"] = chosen.entries_max
        values["last"] = 2 if chosen.shape.is_reversed else wanted.rows - 1
        if chosen.shape.count not in ("scan", "matched"):
            return await self._page(chosen.shape, values)
        known = self._counts.get(wanted.criteria)
        if chosen.shape.count == "scan" and known is not None and known.is_dear:
            values["matches"] = known.matches
            found = await self._page(replace(chosen.shape, count="known"), values)
            if found.mark == known.mark or found.is_cut:
                return found
        time = asyncio.get_running_loop().time
        started = time()
        found = await self._page(chosen.shape, values)
        count = KnownCount(found.mark, found.matches, time() - started)
        self._counts.put(wanted.criteria, count)
        return found

    async def _page(self, shape: Shape, values: Values) -> Answer:
        found = await self._fetch(answer, list_statement(shape), values)
        return found.reversed() if shape.is_reversed else found

    async def _fetch(self, row: RowMaker[Row], statement: Statement, values: Values) -> Row:
        await self._take_turn()
        try:
            found = await self._postgres.fetch_one(row, statement.sql, *statement.arguments(values))
        finally:
            self._turns.release()
        assert found is not None, "an aggregate has a row"
        return found

    async def _take_turn(self) -> None:
        try:
            async with asyncio.timeout(TURN_WAIT_SECONDS):
                await self._turns.acquire()
        except TimeoutError as error:
            raise Unavailable("overloaded", "Too many lists are being read.") from error

    def _is_cut(self, walk: _Walk) -> bool:
        until = self._cut_walks.get(walk)
        return until is not None and asyncio.get_running_loop().time() < until

    def _remember_cut(self, walk: _Walk) -> None:
        self._cut_walks[walk] = asyncio.get_running_loop().time() + CUT_WALK_SECONDS
        self._cut_walks.move_to_end(walk)
        if len(self._cut_walks) > CUT_WALKS_MAX:
            self._cut_walks.popitem(last=False)
