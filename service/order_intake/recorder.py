"""Order messages into the log, a batch at a time.

Invariant: messages about one order are judged in the order in which they came. A batch that was
sent again after a lost connection changes nothing: what was recorded is then a repeat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypeAlias

from service.errors import Corrupt
from service.events import OrderRecorded
from service.identifiers import new_event_key
from service.order_intake.message import OrderMessage
from service.postgres import Postgres, load_statements

Outcome: TypeAlias = Literal[
    "recorded",
    "older",
    "repeated",
    "version_reused",
    "customer_changed",
    "unknown_customer",
    "unknown_tenant",
    "refused",
]
"""What became of a message. `refused`: the database does not take what it says."""

SQL = load_statements("service", "order_intake.sql")


class Recorder:
    """Records orders. Cheap to build; holds nothing."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def record(self, messages: Sequence[OrderMessage]) -> list[Outcome]:
        """What became of each. Raises Unavailable: any part may then have been recorded.

        Raises Corrupt where the database takes no orders at all.
        """
        outcomes: list[Outcome] = ["refused"] * len(messages)
        for places in _turns(messages):
            judged = await self._judge([messages[place] for place in places])
            for place, outcome in zip(places, judged, strict=True):
                outcomes[place] = outcome
        return outcomes

    async def probe(self) -> None:
        """Record nothing. Raises where the database takes no orders from us."""
        await self._call([])

    async def _judge(self, messages: Sequence[OrderMessage]) -> list[Outcome]:
        """Where the database refuses a batch, only the message that is at fault may suffer."""
        try:
            return await self._call(messages)
        except Corrupt:
            if len(messages) == 1:
                await self.probe()  # raises where no message is at fault
                return ["refused"]
        middle = len(messages) // 2
        return [*await self._judge(messages[:middle]), *await self._judge(messages[middle:])]

    async def _call(self, messages: Sequence[OrderMessage]) -> list[Outcome]:
        answers = await self._postgres.fetch_one(
            _answers, SQL["record_orders"], *_columns(messages)
        )
        assert answers is not None, "a function call has a row"
        return answers


def _answers(outcomes: list[Outcome]) -> list[Outcome]:
    return outcomes


def _turns(messages: Sequence[OrderMessage]) -> Sequence[Sequence[int]]:
    """The places of the first messages about each order, of the second ones, and so on."""
    turns: list[list[int]] = []
    before: Counter[tuple[str, str]] = Counter()
    for place, message in enumerate(messages):
        name = message.tenant, message.order_id
        if before[name] == len(turns):
            turns.append([])
        turns[before[name]].append(place)
        before[name] += 1
    return turns


def _columns(messages: Sequence[OrderMessage]) -> tuple[object, ...]:
    """The arguments of log.record_orders: messages about as many orders."""
    tenants, orders, versions, customers, digests, data, meta = (
        zip(*messages, strict=True) if messages else ((),) * len(OrderMessage._fields)
    )
    return (
        "\n".join(tenants),
        "\n".join(orders),
        "\n".join(customers),
        versions,
        digests,
        [new_event_key() for _ in messages],
        "\n".join(data),
        "\n".join(meta),
        [False] * len(messages),  # none is about the same order as one before it
        OrderRecorded.type,
        OrderRecorded.schema_version,
    )
