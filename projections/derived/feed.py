"""What feeds an added projection: the batches of a source, and between them those who wait.

Invariant: whoever waits is tried again once in a process's life, a page between two batches, so
that nobody else waits for it, and neither does a stop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from projections.derived.applier import DerivedApplier
from projections.derived.store import DerivedStore
from projections.feed import Batch, Feed, Source
from service.errors import ConfigurationError


@dataclass(slots=True)
class DerivedSource:
    """A source that is opened where the table is the module's."""

    source: Source
    store: DerivedStore
    applier: DerivedApplier
    tried: str | None = field(default="", init=False)  # of those who wait, up to whom; None = all

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Feed]:
        await self.store.check_shape()
        async with self.source.open() as feed:
            yield _DerivedFeed(feed, self)

    async def try_again(self) -> None:
        """The next page of those who wait, if there is one; where a feed broke, from there on."""
        if self.tried is not None:
            self.tried = await self.applier.retry_parked(self.tried)


class _DerivedFeed:
    """The source's feed, which cannot know that a projection may be dropped."""

    def __init__(self, feed: Feed, source: DerivedSource) -> None:
        self._feed = feed
        self._source = source

    async def next(self) -> Batch:
        await self._source.try_again()
        async with self._unless_dropped():
            return await self._feed.next()

    async def applied(self, batch: Batch) -> None:
        await self._feed.applied(batch)

    async def lost(self, batch: Batch) -> None:
        async with self._unless_dropped():
            await self._feed.lost(batch)

    @asynccontextmanager
    async def _unless_dropped(self) -> AsyncIterator[None]:
        """Places that are gone are taken for another feed's work, unless the whole table went."""
        try:
            yield
        except ConfigurationError:
            await self._source.store.check_begun()
            raise
