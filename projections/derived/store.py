"""The rows of one added projection: what is held of customers, and a batch in one transaction.

Invariant: rows, how far each stream is applied, and the checkpoint are written together or not at
all, and only where nobody else has changed any of them since they were read.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from projections.checkpoint import SQL as CHECKPOINT_SQL
from projections.checkpoint import Move
from projections.customers import Reason, Stop
from projections.derived.fold import Change, State
from projections.derived.module import Derived
from projections.parked import LIST
from projections.store import CheckpointLost, Contended
from service.errors import ConfigurationError, Unavailable
from service.postgres import ConstraintViolated, Postgres, Transaction, load_statements

SQL = load_statements("projections", "derived.sql")


class _Held(NamedTuple):
    customer_id: str
    version: int
    heard: int
    is_gone: bool
    row: str | None


class Waiting(NamedTuple):
    """A parked customer, and where it waits."""

    customer_id: str
    stop: Stop


class DerivedStore:
    """Reads and writes what one version of a projection holds."""

    def __init__(self, postgres: Postgres, derived: Derived) -> None:
        self._postgres = postgres
        self._derived = derived
        self._key = (*derived.key, derived.fields)

    async def check_shape(self) -> None:
        """Raises ConfigurationError where the module is another than the table was made by;
        Unavailable where the table is not made."""
        derived = self._derived
        shape = await self._postgres.fetch_one(str, SQL["shape"], *derived.key)
        if shape is None:
            raise Unavailable(
                "database_not_ready",
                f"derived.{derived.table} is not made, or was dropped: run `customers migrate`, or"
                " end its workers.",
            )
        if shape != derived.shape:
            raise ConfigurationError(
                f"the row or the SQL of {derived.name} was changed after derived.{derived.table}"
                " was made: raise VERSION, and run `customers migrate`"
            )

    async def check_begun(self) -> None:
        """Raises Unavailable where no partition has a place: a worker made them, and whoever drops
        the table takes them away, even if it is made again."""
        if not await self._postgres.fetch_one(
            _is_begun, CHECKPOINT_SQL["position"], *self._derived.key
        ):
            detail = f"derived.{self._derived.table} was dropped while this worker ran."
            raise Unavailable("database_not_ready", detail)

    async def read(self, customer_ids: Collection[str]) -> dict[str, State]:
        """By customer, of all that are asked for."""
        read = self._derived.read
        return {
            each.customer_id: State(
                each.version, each.heard, each.is_gone, None if each.row is None else read(each.row)
            )
            for each in await self._postgres.fetch(
                _Held, SQL["read"], *self._key, sorted(customer_ids)
            )
        }

    async def parked(self, after: str, limit: int) -> Sequence[Waiting]:
        """A page of those who wait, by id, after one of them."""
        every_tenant = None
        return await self._postgres.fetch(
            _waiting, LIST, after, every_tenant, limit, *self._derived.key
        )

    async def write(self, changes: Sequence[Change], moves: Sequence[Move]) -> None:
        """Raises CheckpointLost, Contended, Unavailable; Corrupt where a value is refused."""
        arguments = written(self._derived, changes, moves)
        try:
            await self._postgres.execute(SQL["apply"], *arguments)
        except ConstraintViolated as error:
            if error.constraint == "checkpoint_unmoved":
                raise CheckpointLost(str(error)) from error
            if error.constraint == "customer_unmoved":
                raise Contended(str(error)) from error
            raise

    async def probe(self) -> None:
        """Read and write nothing. Raises where it is not a value that is refused."""
        async with self._postgres.transaction() as transaction:
            await probe(transaction, self._derived)


async def probe(transaction: Transaction, derived: Derived) -> None:
    """Whether there is such a table."""
    await transaction.fetch(_Held, SQL["read"], *derived.key, derived.fields, ())
    await transaction.execute(SQL["apply"], *written(derived, [], []))


def written(derived: Derived, changes: Sequence[Change], moves: Sequence[Move]) -> list[object]:
    """The arguments of derived.apply. Raises Corrupt for a value that has no JSON."""
    places = sorted(moves, key=lambda move: move.seen.partition)
    news = sorted(
        (each for each in changes if each.after != each.before or each.stop is not None),
        key=lambda each: each.customer_id,
    )
    rows = [
        derived.written(each.after.row, each.customer_id, each.tenant)
        for each in news
        if each.after.row is not None and each.after.row != each.before.row
    ]
    return [
        *(*derived.key, derived.fields),
        *(places[0].seen.epoch if places else "",),
        [move.seen.partition for move in places],
        [move.seen.position for move in places],
        [move.seen.topic_offset for move in places],
        [move.position for move in places],
        [move.topic_offset for move in places],
        [move.event_time for move in places],
        [each.customer_id for each in news],
        [each.before.version for each in news],
        [each.before.heard for each in news],
        [each.after.version for each in news],
        [each.after.heard for each in news],
        [each.after.is_gone for each in news],
        f"[{','.join(rows)}]",
        [each.customer_id for each in news if each.after.row is None],
        *_parkings(news),
        [each.customer_id for each in news if each.before.is_parked and not each.after.is_parked],
    ]


def _parkings(news: Sequence[Change]) -> list[list[object]]:
    """Five columns of projection.parked."""
    stops = [(each.customer_id, each.tenant, *each.stop) for each in news if each.stop is not None]
    return [list(column) for column in zip(*stops, strict=True)] if stops else [[]] * 5


def _is_begun(position: int | None) -> bool:
    return position is not None


def _waiting(
    customer_id: str, _tenant: str, version: int, position: int, reason: Reason, *_: object
) -> Waiting:
    return Waiting(customer_id, Stop(version, position, reason))
