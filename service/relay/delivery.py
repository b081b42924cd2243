"""How records get to Kafka and progress gets recorded: a strategy, as the relay sees it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from service.relay.lease import Term
from service.relay.standing import Batch, Standing


class Session(Protocol):
    """Publishing, from the point where it is known where it stands, until something breaks."""

    @property
    def start(self) -> Standing:
        """Where publishing stood when the session began."""

    @property
    def batch_pages_max(self) -> int:
        """How many pages of the log a batch may have where there is a backlog."""

    async def publish(self, batch: Batch) -> None:
        """Return when all of it is acknowledged and the progress is durable.

        Raises Unavailable: any part may have been written, in each partition a beginning, or all
        or nothing, as the delivery says; and LeaseLost. Either ends the session.
        """

    async def check(self) -> None:
        """Raises Unavailable where the topic cannot be reached or is no longer the same."""


class Delivery(Protocol):
    """One way to deliver. A session finds out what is really in the topic before it begins."""

    def session(self, term: Term) -> AbstractAsyncContextManager[Session]:
        """Raises Unavailable; Corrupt and ConfigurationError where publishing would do harm."""
