"""The route of a customer's orders."""

from __future__ import annotations

from typing import Protocol

from aiohttp import web

from service.events import Position, Version
from service.http.call import Call, empty_response, json_response
from service.http.conditions import is_not_modified
from service.http.headers import AS_OF_POSITION, ETAG, LOG_EPOCH, etag
from service.http.query_params import OrdersQuery
from service.identifiers import CustomerId


class Request(Protocol):
    """One page, as it was asked for."""

    @property
    def display(self) -> int: ...
    @property
    def cursor(self) -> str | None: ...
    @property
    def min_position(self) -> int | None: ...


class OrdersFound(Protocol):
    """Finished JSON, the customer's version, and the position that this is current to."""

    @property
    def body(self) -> bytes: ...
    @property
    def version(self) -> Version: ...
    @property
    def position(self) -> Position: ...


class OrderQueries(Protocol):
    async def orders(self, tenant: str, customer_id: CustomerId, request: Request) -> OrdersFound:
        """Raises NotFound, Rejected for a cursor that is not of this customer's orders,
        Unavailable `projection_lag`."""


class Orders:
    def __init__(self, queries: OrderQueries) -> None:
        self._queries = queries

    async def list(self, call: Call) -> web.Response:
        assert isinstance(call.query, OrdersQuery)
        found = await self._queries.orders(call.principal.tenant, call.customer_id, call.query)
        headers: dict[str, str] = {
            ETAG: etag(found.version),
            AS_OF_POSITION: str(found.position),
            LOG_EPOCH: call.epoch,
        }
        if is_not_modified(call.request.headers, found.version):
            return empty_response(304, headers)
        return json_response(200, found.body, headers)
