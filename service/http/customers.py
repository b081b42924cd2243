"""The customer routes: list, create, get, update, delete."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from aiohttp import web

from service.customer import DeleteCustomer
from service.events import Position, Version
from service.http.call import Call, empty_response, json_response
from service.http.conditions import is_not_modified
from service.http.headers import AS_OF_POSITION, ETAG, LOG_EPOCH, etag
from service.http.models import CustomerBody, CustomerPatch
from service.http.query_params import CustomerQuery, ListQuery
from service.http.writes import Writes
from service.identifiers import CustomerId, new_customer_id
from service.list_request import ListRequest


class Found(Protocol):
    """One customer: the finished JSON document, its version, and the position it is current to."""

    @property
    def document(self) -> bytes: ...
    @property
    def version(self) -> Version: ...
    @property
    def position(self) -> Position: ...


class Listed(Protocol):
    """A page: the finished JSON body, and the position it is current to."""

    @property
    def body(self) -> bytes: ...
    @property
    def position(self) -> Position: ...


class Queries(Protocol):
    async def get(self, tenant: str, customer_id: CustomerId, currency: str) -> Found:
        """Raises NotFound."""

    async def get_then(
        self,
        tenant: str,
        customer_id: CustomerId,
        currency: str,
        *,
        at: datetime | None,
        version: int | None,
    ) -> Found:
        """Raises NotFound, also for what was not yet."""

    async def list(self, tenant: str, request: ListRequest) -> Listed:
        """Raises Rejected for a cursor that is not this list's, Unavailable `projection_lag`."""


class Customers:
    def __init__(self, writes: Writes, queries: Queries) -> None:
        self._writes = writes
        self._queries = queries

    async def list(self, call: Call) -> web.Response:
        assert isinstance(call.query, ListQuery)
        listed = await self._queries.list(call.principal.tenant, call.query.request())
        return json_response(
            200, listed.body, {AS_OF_POSITION: str(listed.position), LOG_EPOCH: call.epoch}
        )

    async def get(self, call: Call) -> web.Response:
        principal = call.principal
        assert isinstance(call.query, CustomerQuery)
        asked = principal.tenant, call.customer_id, principal.currency
        at, version = call.query.at, call.query.version
        if at is None and version is None:
            found = await self._queries.get(*asked)
        else:
            found = await self._queries.get_then(*asked, at=at, version=version)
        headers: dict[str, str] = {
            ETAG: etag(found.version),
            AS_OF_POSITION: str(found.position),
            LOG_EPOCH: call.epoch,
        }
        if is_not_modified(call.request.headers, found.version):
            return empty_response(304, headers)
        return json_response(200, found.document, headers)

    async def create(self, call: Call) -> web.Response:
        assert isinstance(call.body, CustomerBody)
        customer_id = new_customer_id()
        command = call.body.command(customer_id)
        return await self._writes.customer(call, customer_id, command, status=201)

    async def update(self, call: Call) -> web.Response:
        assert isinstance(call.body, CustomerPatch)
        return await self._writes.customer(call, call.customer_id, call.body.command())

    async def delete(self, call: Call) -> web.Response:
        return await self._writes.nothing(call, DeleteCustomer())
