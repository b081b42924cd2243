"""Where batches come from, as the runner sees it.

Invariant: batches come in order, and each says how far every partition is complete with it. What
was given is given again, to whoever reads next, until its moves are in the checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from projections.checkpoint import Move
from projections.customers import Fact

BATCH_EVENTS_MAX = 2_000  # and, from the log, PAGE_BYTES_MAX


class Batch(NamedTuple):
    """Events, and how far the partitions are complete once these are applied; both may be none."""

    facts: Sequence[Fact]
    moves: Sequence[Move]


NOTHING = Batch((), ())


class Feed(Protocol):
    """Batches, for one runner, as long as the links hold."""

    async def next(self) -> Batch:
        """What there is; nothing after a short wait. Raises Unavailable, Corrupt and
        ConfigurationError; any of them ends the feed."""

    async def applied(self, batch: Batch) -> None:
        """The batch's moves are in the checkpoint now."""

    async def lost(self, batch: Batch) -> None:
        """The checkpoint was not where the batch began: go on from where it is."""


class Source(Protocol):
    """Opens feeds; after Unavailable, another one."""

    def open(self) -> AbstractAsyncContextManager[Feed]:
        """Raises Unavailable; Corrupt and ConfigurationError where applying would do harm."""
