"""Who may publish: a lease in the database with an expiry and a fencing token.

Invariant: every write of progress names the generation it was taken with, in the same statement,
so a holder that was thought dead and wakes up again changes nothing. No session state is used:
it works behind PgBouncer in transaction mode.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from uuid import uuid4

from service.errors import CustomersError
from service.postgres import Postgres, load_statements

LEASE_SECONDS = 2.0  # how long the standbys wait for one that died without a word

SQL = load_statements("service", "relay.sql")


class LeaseLost(CustomersError):
    """Somebody else publishes now: stop, and stand by."""


@dataclass(frozen=True, slots=True)
class Term:
    """The lease, as held from one taking to the next."""

    topic: str
    generation: int


class Lease:
    """The lease of one topic, as seen by one process."""

    def __init__(self, postgres: Postgres, topic: str, owner: str | None = None) -> None:
        self._postgres = postgres
        self._topic = topic
        self._owner = owner or uuid4().hex
        self._held_until = 0.0  # on this machine's clock, which goes on while the process is paused

    async def take(self) -> Term | None:
        """None while another process holds it."""
        asked_at = monotonic()
        generation = await self._postgres.fetch_one(
            int, SQL["take_lease"], self._topic, self._owner, LEASE_SECONDS
        )
        if generation is None:
            return None
        self._held_until = asked_at + LEASE_SECONDS
        return Term(self._topic, generation)

    async def renew(self, term: Term) -> None:
        """Raises LeaseLost."""
        asked_at = monotonic()
        renewed = await self._postgres.fetch_one(
            int, SQL["renew_lease"], term.topic, term.generation, LEASE_SECONDS
        )
        if renewed is None:
            raise LeaseLost
        self._held_until = asked_at + LEASE_SECONDS

    async def assure(self, term: Term) -> None:
        """Renew where it may have run out unnoticed. Raises LeaseLost."""
        if monotonic() >= self._held_until:
            await self.renew(term)

    async def release(self, term: Term) -> None:
        """Let a standby take over at once."""
        await self._postgres.execute(SQL["release_lease"], term.topic, term.generation)
