"""How far the projection has read each partition of its feed.

Invariant: a checkpoint moves only in the transaction that applies the events, and only from the
position that its writer last saw. The lowest position of all rows is therefore always true: up to
there everything is shown.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from service.errors import ConfigurationError, Unavailable
from service.events import Position
from service.postgres import ConstraintViolated, Postgres, Transaction, load_statements

LOG_PARTITION = -1  # the log itself, all of it, in place of the partitions of a topic
NO_TOPIC = ""  # the log's

SQL = load_statements("projections", "checkpoint.sql")


@dataclass(frozen=True, slots=True)
class Projection:
    """Which read model it is. A rebuild makes the next version."""

    name: str
    version: int
    is_unread: bool = False  # and must not be read while it is fed so

    async def follow(self) -> bool:
        """This one version, whichever is read."""
        return False

    async def is_current(self) -> bool:
        """As if it were the one."""
        return True


CUSTOMERS = Projection("customers", 1)


class Followed(Protocol):
    """A read model, at a version that may become another one."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int: ...

    @property
    def is_unread(self) -> bool:
        """It is fed beside the one that is read, and no more once it is read itself."""

    async def follow(self) -> bool:
        """Go over to the version that is read now; False where it is this one. Only between
        batches: a batch is of one version."""

    async def is_current(self) -> bool:
        """Whether this is the version that is read now."""


class Place(NamedTuple):
    """Everything of `partition` up to `position` is applied."""

    partition: int
    epoch: str
    position: int
    topic_offset: int  # of the next record to read
    event_time: datetime  # of the last event applied


class Move(NamedTuple):
    """From the place that was last seen to how far a batch goes."""

    seen: Place
    position: int
    topic_offset: int
    event_time: datetime

    def place(self) -> Place:
        """Where the partition stands when the batch is applied."""
        return self.seen._replace(
            position=self.position, topic_offset=self.topic_offset, event_time=self.event_time
        )


class Checkpoints:
    """Reads the places of one projection; they are moved in the store, with the rows."""

    def __init__(self, postgres: Postgres, projection: Followed = CUSTOMERS) -> None:
        self._postgres = postgres
        self._projection = projection

    async def take_over(
        self, partitions: Collection[int], epoch: str, topic_id: str = NO_TOPIC
    ) -> dict[int, Place]:
        """The places of all partitions of the feed, those that are missing made.

        Where it was fed otherwise before (from the log, or from another number of partitions), it
        goes on from what is certain; another topic is read from its beginning. Raises
        ConfigurationError where what is shown is of another log than `epoch` names.
        """
        while True:
            await self._projection.follow()
            name, version = self._projection.name, self._projection.version
            found = await self._take_over(version, sorted(partitions), epoch, topic_id)
            if not await self._projection.follow():  # else it is no longer the one to feed
                break
        for place in found:
            if place.epoch != epoch:
                raise ConfigurationError(
                    f"the read model {name} shows another log (epoch {place.epoch}, here {epoch}):"
                    " rebuild it"
                )
        return {place.partition: place for place in found}

    async def _take_over(self, version: int, *arguments: object) -> list[Place]:
        name = self._projection.name
        try:
            statement = SQL["take_over_unread" if self._projection.is_unread else "take_over"]
            return await self._postgres.fetch(Place, statement, name, version, *arguments)
        except ConstraintViolated as error:
            if error.constraint != "version_unread":
                raise
            raise ConfigurationError(f"version {version} of {name} is read, or gone") from error

    async def follow(self) -> bool:
        """Go over to the version that is read now; False where it is this one."""
        return await self._projection.follow()

    async def places(self, partitions: Collection[int]) -> dict[int, Place]:
        """Raises ConfigurationError where one is missing: another worker feeds from elsewhere.
        Unavailable where another version is read now: open the feed again."""
        name, version = self._projection.name, self._projection.version
        found = await self._postgres.fetch(Place, SQL["places"], name, version, sorted(partitions))
        if len(found) != len(partitions):
            if not await self._projection.is_current():
                detail = "Another version of the read model is read now."
                raise Unavailable("database_unavailable", detail)
            raise ConfigurationError(
                f"the read model {name} is fed from elsewhere now: do not run workers that read the"
                " log beside workers that read Kafka, or topics with other partitions"
            )
        return {place.partition: place for place in found}

    async def position(self) -> Position:
        """Up to where everything is shown."""
        found = await self._postgres.fetch_one(
            _or_zero, SQL["position"], self._projection.name, self._projection.version
        )
        return Position(found or 0)

    async def parked(self) -> int:
        """How many customers are parked."""
        name, version = self._projection.name, self._projection.version
        return await self._postgres.fetch_one(int, SQL["count_parked"], name, version) or 0


async def follow_epoch(
    transaction: Transaction, projection: Projection, ended: str, epoch: str
) -> int:
    """Go on under the log's new name, which up to here is the same log; the furthest position that
    any version of the projection shows."""
    shown = await transaction.fetch(int, SQL["follow_epoch"], projection.name, ended, epoch)
    return max(shown, default=0)


def _or_zero(position: int | None) -> int:
    return position or 0
