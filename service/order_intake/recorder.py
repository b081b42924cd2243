"""Order messages into the log, a batch at a time.

Invariant: messages about one order are judged in the order in which they came. A batch that was
sent again after a lost connection changes nothing: what was recorded is then a repeat.
"""

from __future__ import annotations

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

_Answer: TypeAlias = Outcome | Literal["again"]

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
        waiting: Sequence[int] = range(len(messages))
        while waiting:
            again: list[int] = []
            answers = await self._judge([messages[number] for number in waiting])
            for number, answer in zip(waiting, answers, strict=True):
                if answer == "again":
                    again.append(number)
                else:
                    outcomes[number] = answer
            waiting = again
        return outcomes

    async def probe(self) -> None:
        """Record nothing. Raises where the database takes no orders from us."""
        await self._call([])

    async def _judge(self, messages: Sequence[OrderMessage]) -> list[_Answer]:
        """Where the database refuses a batch, only the message that is at fault may suffer."""
        try:
            return await self._call(messages)
        except Corrupt:
            if len(messages) == 1:
                await self.probe()  # raises where no message is at fault
                return ["refused"]
        middle = len(messages) // 2
        return [*await self._judge(messages[:middle]), *await self._judge(messages[middle:])]

    async def _call(self, messages: Sequence[OrderMessage]) -> list[_Answer]:
        answers = await self._postgres.fetch_one(
            _answers, SQL["record_orders"], *_columns(messages)
        )
        assert answers is not None, "a function call has a row"
        return answers


def _answers(outcomes: list[_Answer]) -> list[_Answer]:
    return outcomes


def _columns(messages: Sequence[OrderMessage]) -> tuple[object, ...]:
    """The arguments of log.record_orders."""
    named: set[tuple[str, str]] = set()
    is_repeat: list[bool] = []
    for message in messages:
        name = message[:2]
        is_repeat.append(name in named)
        named.add(name)
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
        is_repeat,
        OrderRecorded.type,
        OrderRecorded.schema_version,
    )
