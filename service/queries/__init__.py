"""Reads: one customer, its orders and its history, always current, and the customer list.

Invariants: nothing here writes, and nothing is answered that was true only before the request.
Statements that may be slow never hold all of the pool: half of it is the lists', a third the gets',
and the rest is left to appends, to the checks of tokens and to folding.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import datetime

from service.event_log import EventLog
from service.identifiers import CustomerId
from service.list_request import ListRequest
from service.postgres import POOL_SIZE_MAX, Postgres
from service.queries.customer_list import MIN_POSITION_WAIT_SECONDS, CustomerList
from service.queries.customer_orders import CustomerOrders, OrdersFound, OrdersRequest
from service.queries.customer_query import CustomerQuery, Found
from service.queries.export import Export, Exports
from service.queries.feed import Feed
from service.queries.history import EventsFound, EventsRequest, History
from service.queries.list_answer import Listed

__all__ = [
    "EventsFound",
    "EventsRequest",
    "Export",
    "Feed",
    "Found",
    "Listed",
    "OrdersFound",
    "OrdersRequest",
    "Queries",
]


def lists_at_once_max(pool_size_max: int) -> int:
    return max(1, pool_size_max // 2)


def gets_at_once_max(pool_size_max: int) -> int:
    return max(1, pool_size_max // 3)


class Queries:
    """What the API of one process reads. Safe to call from many tasks at once; owns no task."""

    def __init__(
        self,
        postgres: Postgres,
        event_log: EventLog,
        cursor_key: bytes,
        *,
        pool_size_max: int = POOL_SIZE_MAX,
        min_position_wait_seconds: float = MIN_POSITION_WAIT_SECONDS,
    ) -> None:
        """`cursor_key`: a secret that all processes of the API share; at least 16 bytes.

        `pool_size_max`: the connections of `postgres`, at least 3.
        """
        self._customers = CustomerQuery(
            postgres, event_log, statements_at_once_max=gets_at_once_max(pool_size_max)
        )
        self._lists = CustomerList(
            postgres,
            cursor_key,
            statements_at_once_max=lists_at_once_max(pool_size_max),
            min_position_wait_seconds=min_position_wait_seconds,
        )
        self._orders = CustomerOrders(postgres, event_log, cursor_key, min_position_wait_seconds)
        self._history = History(self._customers, event_log, cursor_key)
        self._exports = Exports(self._customers, event_log)

    async def get(self, tenant: str, customer_id: CustomerId, currency: str) -> Found:
        """One living customer. Raises NotFound (`customer_not_found`, `customer_deleted`)."""
        return await self._customers.get(tenant, customer_id, currency)

    async def get_then(
        self,
        tenant: str,
        customer_id: CustomerId,
        currency: str,
        *,
        at: datetime | None,
        version: int | None,
    ) -> Found:
        """A living customer as it was. Raises NotFound, also where it was not yet."""
        return await self._customers.get_then(tenant, customer_id, currency, at=at, version=version)

    async def list(self, tenant: str, request: ListRequest) -> Listed:
        """One page. Raises Rejected `invalid_cursor`, Unavailable `projection_lag`."""
        return await self._lists.list(tenant, request)

    async def orders(
        self, tenant: str, customer_id: CustomerId, request: OrdersRequest
    ) -> OrdersFound:
        """One page of a living customer's orders, the latest first.

        Raises NotFound, Rejected `invalid_cursor`, Unavailable `projection_lag`.
        """
        return await self._orders.page(tenant, customer_id, request)

    async def events(
        self, tenant: str, customer_id: CustomerId, currency: str, request: EventsRequest
    ) -> EventsFound:
        """One page of a living customer's events, the oldest first.

        Raises NotFound, Rejected `invalid_cursor`.
        """
        return await self._history.page(tenant, customer_id, currency, request)

    def export(
        self, tenant: str, customer_id: CustomerId, currency: str, now: datetime
    ) -> AbstractAsyncContextManager[Export]:
        """All about a living customer; its chunks are read inside the block.

        Entering raises NotFound, Unavailable `overloaded`.
        """
        return self._exports.begin(tenant, customer_id, currency, now)
