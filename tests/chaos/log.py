"""The log as it lies in the database, read by none of the service's own readers.

Invariant: rows are taken in the order of their positions; what is kept of each is eight bytes, and
whole only what a writer's request has made. So a log of millions fits into memory.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import NamedTuple

import asyncpg

from tests.chaos.chain import compare, identity
from tests.chaos.findings import Findings

ROWS_AT_ONCE = 5_000
COMMAND_TIMEOUT_SECONDS = 60.0
ORDER_RECORDED = "customer.order_recorded"

ROWS = """
SELECT position, customer_id, version, type, schema_version, meta ->> 'requestId' AS request_id,
       data #>> '{order,orderId}' AS order_id,
       (data #>> '{order,orderVersion}')::bigint AS order_version
FROM log.event ORDER BY position
"""


class Row(NamedTuple):
    """An event of the log; `kind` as Kafka's ce_type says it."""

    position: int
    customer_id: str
    version: int
    kind: str
    request_id: str
    order_id: str | None = None
    order_version: int | None = None


class Log:
    """All of it, and what is wrong with it by itself."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.findings = Findings()
        self.identities = array("Q")  # by position - 1
        self.requested: dict[str, list[Row]] = defaultdict(list)  # by request id, without orders
        self.orders: dict[str, tuple[str, int]] = {}  # customer and version, as last recorded
        self.versions: dict[str, int] = {}
        for row in rows:
            self.add(row)

    @property
    def end(self) -> int:
        return len(self.identities)

    def add(self, row: Row) -> None:
        if row.position != self.end + 1:
            self.findings.add("out of order", f"position {row.position} follows {self.end}")
        before = self.versions.get(row.customer_id, 0)
        if row.version != before + 1:
            text = f"position {row.position}: version {row.version} of {row.customer_id} follows"
            self.findings.add("out of order", f"{text} {before}")
        self.versions[row.customer_id] = row.version
        self.identities.append(identity(row.customer_id, row.version, row.kind))
        if row.order_id is None:
            self.requested[row.request_id].append(row)
        else:
            self._add_order(row)

    def _add_order(self, row: Row) -> None:
        assert row.order_id is not None
        assert row.order_version is not None
        customer_id, version = self.orders.get(row.order_id, (row.customer_id, 0))
        if row.order_version <= version:
            text = f"position {row.position}: {row.order_id} {row.order_version} after {version}"
            self.findings.add("twice", text)
        if row.customer_id != customer_id:
            self.findings.add("wrong", f"position {row.position}: {row.order_id} changed hands")
        self.orders[row.order_id] = (row.customer_id, row.order_version)


async def read_log(database_url: str) -> Log:
    log = Log()
    async for row in _rows(database_url):
        log.add(row)
    return log


async def _rows(database_url: str) -> AsyncIterator[Row]:
    connection = await asyncpg.connect(database_url, command_timeout=COMMAND_TIMEOUT_SECONDS)
    try:
        async with connection.transaction(readonly=True):
            async for found in connection.cursor(ROWS, prefetch=ROWS_AT_ONCE):
                position, customer_id, version, kind, schema, request_id, *order = found
                yield Row(
                    *(position, customer_id, version, f"{kind}.v{schema}", request_id), *order
                )
    finally:
        await connection.close()


def check_orders(
    log: Log, sent: Mapping[str, Mapping[str, object]], unknown: Iterable[str]
) -> Findings:
    """The log's last version of every order is the last one that the shop has sent."""
    findings = Findings()
    for order_id, order in sent.items():
        recorded = log.orders.get(order_id)
        expected = (order["customerId"], order["orderVersion"])
        if recorded is None:
            findings.add("lost", f"{order_id} is not in the log")
        elif recorded != expected:
            findings.add("lost", f"{order_id} is {recorded} in the log, {expected} was sent")
    for order_id in unknown:
        if order_id in log.orders:
            findings.add("left a trace", f"{order_id} of an unknown customer is in the log")
    for order_id in log.orders.keys() - sent.keys():
        findings.add("wrong", f"{order_id} is in the log, and nobody sent it")
    return findings


def check_reading(read: array[int], log: Log, reader: str) -> Findings:
    """What a subscriber has read is what the log holds."""
    return compare(read, log.identities, reader)
