"""Which of a search's grams to ask the index for: the rarest few.

Invariant: the choice decides only how fast a search is; every hit is compared with the words
themselves. An index of grams reads a list for each gram asked, and long lists cost more than they
sort out, so four rare ones beat all of them: tenfold, on whole e-mail addresses among a million.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from heapq import nsmallest
from typing import NamedTuple

from service.errors import Unavailable
from service.folding import grams
from service.postgres import Postgres, load_statements

ASKED_GRAMS_MAX = 4
SAMPLED_ROWS_MAX = 10_000
KNOWN_GRAMS_MAX = 20_000  # the most frequent; all others count as rare
FRESH_SECONDS = 600.0

SQL = load_statements("service", "queries.sql")


class _Frequency(NamedTuple):
    gram: int
    rows: int


class GramChoice:
    """Knows from a sample, taken now and then, which grams are frequent."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._frequencies: Mapping[int, int] = {}
        self._fresh_until = 0.0  # by the event loop's clock

    async def rarest(self, words: Iterable[str], tenant: str) -> list[int]:
        """At most four; none where no word is longer than a letter."""
        candidates = set().union(*_longest_runs(words, tenant))
        if len(candidates) > ASKED_GRAMS_MAX:
            await self._refresh()
        frequency = self._frequencies.get
        return nsmallest(ASKED_GRAMS_MAX, candidates, key=lambda gram: (frequency(gram, 0), gram))

    async def _refresh(self) -> None:
        """The one who finds the sample old takes a new one; meanwhile others use the old one."""
        now = asyncio.get_running_loop().time()
        if now < self._fresh_until:
            return
        self._fresh_until = now + FRESH_SECONDS
        try:
            rows = await self._postgres.fetch(
                _Frequency, SQL["frequent_grams"], SAMPLED_ROWS_MAX, KNOWN_GRAMS_MAX
            )
        except Unavailable:
            self._fresh_until = now  # the search itself will say so, if it has to
        else:
            self._frequencies = dict(rows)


def _longest_runs(words: Iterable[str], tenant: str) -> Iterator[set[int]]:
    """The runs of three of each word; of a shorter word itself. A run of three is the rarer one."""
    for word in words:
        pairs = "\n".join(word[start : start + 2] for start in range(len(word) - 1))
        yield grams(word, tenant) - grams(pairs, tenant) if len(word) > 2 else grams(word, tenant)
