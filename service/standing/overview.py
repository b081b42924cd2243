"""The log's side and Kafka's side together: all that there is to see at a glance.

Invariant: what could not be looked at is None, and a sentence says why; it is never nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.standing.parts import STALLED_SECONDS, Part, Standing


@dataclass(frozen=True, slots=True)
class Orders:
    """Orders that the intake has not committed: how many, and for how long the first has waited.

    Of a topic with transactions a few more may be counted: their markers have places too.
    """

    lag_messages: int
    lag_seconds: float

    @property
    def is_stalled(self) -> bool:
        """The topic has gone on for so long, and the committed offset has not."""
        return self.lag_seconds > STALLED_SECONDS


@dataclass(frozen=True, slots=True)
class Letters:
    """Order messages that were put aside and not put back. `is_more`: not all were counted."""

    by_reason: Mapping[str, int]
    oldest_seconds: float
    is_more: bool = False

    @property
    def count(self) -> int:
        return sum(self.by_reason.values())


@dataclass(frozen=True, slots=True)
class KafkaSide:
    """What the topics of orders say. `problem`: why something is None."""

    orders: Orders | None = None
    letters: Letters | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """`kafka` None: no Kafka is named here, so nothing of it is known, nor missed."""

    standing: Standing
    kafka: KafkaSide | None

    @property
    def has_relay(self) -> bool:
        """There should be one where there is a Kafka, or once was one."""
        return self.kafka is not None or self.standing.relay.position is not None

    @property
    def parts(self) -> Sequence[Part]:
        """Those that there should be."""
        return self.standing.parts if self.has_relay else self.standing.projections

    @property
    def stalled(self) -> Sequence[str]:
        """The names of those that do not go on though they should."""
        names = [part.name for part in self.parts if part.is_stalled]
        orders = self.kafka.orders if self.kafka is not None else None
        return [*names, "intake"] if orders is not None and orders.is_stalled else names
