"""The routes of what happened to a customer, and of all that is held about one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Protocol

from aiohttp import hdrs, web

from service.events import Position, Version
from service.http.call import Call, empty_response, json_response
from service.http.conditions import is_not_modified
from service.http.headers import AS_OF_POSITION, ETAG, LOG_EPOCH, etag
from service.http.query_params import EventsQuery
from service.http.streaming import streamed
from service.identifiers import CustomerId


class Request(Protocol):
    """One page, as it was asked for."""

    @property
    def after(self) -> int: ...
    @property
    def display(self) -> int: ...
    @property
    def cursor(self) -> str | None: ...


class EventsFound(Protocol):
    """Finished JSON, the customer's version, and the position that this is current to."""

    @property
    def body(self) -> bytes: ...
    @property
    def version(self) -> Version: ...
    @property
    def position(self) -> Position: ...


class Export(Protocol):
    """One JSON document in pieces, which may raise; the customer's version and its position."""

    @property
    def chunks(self) -> AsyncGenerator[bytes, None]: ...
    @property
    def version(self) -> Version: ...
    @property
    def position(self) -> Position: ...


class HistoryQueries(Protocol):
    async def events(
        self, tenant: str, customer_id: CustomerId, currency: str, request: Request
    ) -> EventsFound:
        """Raises NotFound, Rejected for a cursor that is not of this customer's events."""

    def export(
        self, tenant: str, customer_id: CustomerId, currency: str, now: datetime
    ) -> AbstractAsyncContextManager[Export]:
        """Raises NotFound, and Unavailable `overloaded`, when it is entered."""


class History:
    def __init__(self, queries: HistoryQueries) -> None:
        self._queries = queries

    async def events(self, call: Call) -> web.Response:
        assert isinstance(call.query, EventsQuery)
        principal = call.principal
        found = await self._queries.events(
            principal.tenant, call.customer_id, principal.currency, call.query
        )
        headers = _headers(call, found.version, found.position)
        if is_not_modified(call.request.headers, found.version):
            return empty_response(304, headers)
        return json_response(200, found.body, headers)

    async def export(self, call: Call) -> web.StreamResponse:
        principal = call.principal
        now = datetime.now(UTC)
        asked = principal.tenant, call.customer_id, principal.currency
        async with self._queries.export(*asked, now) as export:
            headers = _headers(call, export.version, export.position)
            if is_not_modified(call.request.headers, export.version):
                return empty_response(304, headers)
            if call.request.method == hdrs.METH_HEAD:
                return empty_response(200, headers)
            return await streamed(call.request, call.request_id, export.chunks, headers)


def _headers(call: Call, version: Version, position: Position) -> dict[str, str]:
    return {ETAG: etag(version), AS_OF_POSITION: str(position), LOG_EPOCH: call.epoch}
