"""Names of the log: a restored one gets a new name, and the old one is remembered with its end.

Invariant: what is said of positions under one name is never taken to be about the log of another.
So whoever keeps a place in the log across a restore is either moved on in the same transaction, or
forgotten, or finds another name and stops.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from service.errors import CustomersError
from service.postgres import Postgres, Transaction, load_statements

SQL = load_statements("service", "epochs.sql")


class RolesAtWork(CustomersError):
    """Somebody works on the log whose name is to change."""

    def __init__(self, roles: list[str]) -> None:
        super().__init__(
            f"At work on this database: {', '.join(roles)}. Stop every role first; behind a pooler"
            " that keeps connections of roles that have ended, give --force."
        )


class NewEpoch(NamedTuple):
    """Up to `position`, the log is what it was under the name `ended`."""

    ended: str
    epoch: str
    position: int


class PastEpoch(NamedTuple):
    epoch: str
    ended_at_position: int
    ended_at: datetime


async def check_nobody_works(postgres: Postgres) -> None:
    """Raises RolesAtWork."""
    roles = await postgres.fetch(str, SQL["at_work"])
    if roles:
        raise RolesAtWork(roles)


async def begin_epoch(transaction: Transaction) -> NewEpoch:
    """The relay's progress is forgotten: what the topic says is looked at anew."""
    [begun] = await transaction.fetch(NewEpoch, SQL["begin_epoch"])
    await transaction.execute(SQL["forget_published"])
    return begun


async def past_epochs(postgres: Postgres) -> list[PastEpoch]:
    """The oldest first."""
    return await postgres.fetch(PastEpoch, SQL["past_epochs"])
