"""`/console`: pages for operators, rendered here, which work without a script.

Invariants: nothing here writes. A page is for whoever holds a token: overviews for every one, since
positions and counts tell about no customer and no tenant, customers for those who may read them,
of the token's tenant. Every answer below the path is a page under one strict policy, errors too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from service.console import (
    STATIC_FILES,
    CustomerPage,
    Pages,
    Problem,
    Viewer,
    found_page,
    read_events,
    read_orders,
)
from service.documents import CustomerDocument
from service.http.auth import ALL_SCOPES, Authenticator, check_scope
from service.http.call import opaque_customer_id
from service.http.console_answers import ROOT, SIGN_IN, Answering, file_of, html, moved
from service.http.console_door import Door
from service.http.console_queries import ConsoleQueries, EventsWanted, OrdersWanted
from service.http.endpoint import admit
from service.http.large_answers import LargeAnswers, large_body
from service.http.problem_kinds import PROBLEMS
from service.http.problems import Refused, retry_headers
from service.http.query_params import PAGE_MAX, Count, Cursor, NoQuery, Search, whole
from service.http.query_string import QueryReader
from service.http.rate_limit import RateLimit
from service.http.routes import Scope
from service.http.slots import Slots
from service.list_request import ListRequest
from service.standing import Overview
from service.tokens import Principal

PAGES_AT_ONCE_MAX = 8  # of one process; what is read for them must leave room for the API
CUSTOMERS_SHOWN = 25
EVENTS_SHOWN = 20
ORDERS_SHOWN = 10
READ_CUSTOMERS: Scope = "customers:read"


@dataclass(frozen=True, slots=True)
class ConsoleParts:
    """What the console needs beside what the API has. `look` tells how everything is."""

    look: Callable[[], Awaitable[Overview]]
    session_key: bytes


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _OverviewQuery(_Query):
    refresh: Literal["on"] | None = None


class _CustomersQuery(_Query):
    q: Search = ""
    page: Annotated[int, whole(1, PAGE_MAX)] = 1


class _CustomerQuery(_Query):
    """Events after this version, or before it; neither: the newest."""

    after: Count | None = Field(default=None)
    before: Count | None = Field(default=None)
    orders: Cursor | None = Field(default=None)


@dataclass(frozen=True, slots=True)
class _Visit:
    """A request that may be answered; `query` is checked."""

    principal: Principal
    viewer: Viewer
    parts: list[str]
    query: BaseModel


class Console:
    """The pages of one process."""

    def __init__(
        self,
        parts: ConsoleParts,
        queries: ConsoleQueries,
        authenticator: Authenticator,
        rate_limit: RateLimit | None,
        large_answers: LargeAnswers,
    ) -> None:
        self._pages = Pages(ROOT)
        self._look = parts.look
        self._queries = queries
        self._rate_limit = rate_limit
        self._large_answers = large_answers
        self._slots = Slots(PAGES_AT_ONCE_MAX)
        self._door = Door(self._pages, authenticator, parts.session_key, self._slots)

    def routes(self) -> Mapping[tuple[str, str], Answering]:
        """By method and path."""
        files = {("GET", f"{ROOT}/{name}"): file_of(file) for name, file in STATIC_FILES.items()}
        return {
            **files,
            ("GET", f"{ROOT}/"): moved,
            ("GET", SIGN_IN): self._door.show,
            ("POST", SIGN_IN): self._door.sign_in,
            ("POST", f"{ROOT}/sign-out"): self._door.sign_out,
            ("GET", ROOT): self._page(self._overview, _OverviewQuery),
            ("GET", f"{ROOT}/customers"): self._page(
                self._customers, _CustomersQuery, READ_CUSTOMERS
            ),
            ("GET", f"{ROOT}/customers/{{customerId}}"): self._page(
                self._customer, _CustomerQuery, READ_CUSTOMERS
            ),
        }

    def has(self, path: str) -> bool:
        """Whether people look there, and so are told in pages what is wrong."""
        return path == ROOT or path.startswith(f"{ROOT}/")

    def problem(self, refusal: Refused, request_id: str) -> web.Response:
        status, title = PROBLEMS[refusal.code]
        page = self._pages.problem(Problem(status, title, refusal.detail or title, request_id))
        return html(page, status, {**refusal.headers, **retry_headers(refusal)})

    def _page(
        self,
        show: Callable[[_Visit], Awaitable[bytes]],
        query: type[BaseModel] = NoQuery,
        scope: Scope | None = None,
    ) -> Answering:
        """Everything that is checked before a page is made."""
        reader = QueryReader(query)

        async def answer(
            request: web.BaseRequest, request_id: str, parts: list[str]
        ) -> web.StreamResponse:
            principal = await self._door.principal(request)
            if principal is None:
                return self._door.lead_out(request)
            if self._rate_limit is not None:
                admit(request, principal, self._rate_limit)
            if scope is not None:
                check_scope(principal, scope)
            asked = reader.read(request.rel_url.raw_query_string)
            async with self._slots:
                page = await show(_Visit(principal, _viewer(principal), parts, asked))
            response = html(page)
            body = large_body(request, response)
            if body is None:
                return response
            return await self._large_answers.send(request, request_id, response, body)

        return answer

    async def _overview(self, visit: _Visit) -> bytes:
        assert isinstance(visit.query, _OverviewQuery)
        refreshes = visit.query.refresh is not None
        return self._pages.overview(visit.viewer, await self._look(), refreshes=refreshes)

    async def _customers(self, visit: _Visit) -> bytes:
        assert isinstance(visit.query, _CustomersQuery)
        q, page = visit.query.q, visit.query.page
        wanted = ListRequest(page=page, display=CUSTOMERS_SHOWN, q=q or None)
        listed = await self._queries.list(visit.principal.tenant, wanted)
        return self._pages.customers(visit.viewer, found_page(q, listed.body))

    async def _customer(self, visit: _Visit) -> bytes:
        assert isinstance(visit.query, _CustomerQuery)
        tenant, currency = visit.principal.tenant, visit.principal.currency
        customer_id = opaque_customer_id(visit.parts[0])
        found = await self._queries.get(tenant, customer_id, currency)
        wanted, cursor = _stretch(visit.query, found.version), visit.query.orders
        events = await self._queries.events(tenant, customer_id, currency, wanted)
        orders = await self._queries.orders(tenant, customer_id, OrdersWanted(ORDERS_SHOWN, cursor))
        shown = CustomerPage(
            customer=CustomerDocument.model_validate_json(found.document),
            events=read_events(events.body, currency),
            after=wanted.after,
            orders=read_orders(orders.body),
            orders_cursor=cursor,
        )
        return self._pages.customer(visit.viewer, shown)


def _stretch(query: _CustomerQuery, version: int) -> EventsWanted:
    """Which events of a customer, who is at this version."""
    if query.after is not None:
        return EventsWanted(query.after, EVENTS_SHOWN)
    until = version if query.before is None else max(0, query.before - 1)
    after = max(0, until - EVENTS_SHOWN)
    return EventsWanted(after, until - after)


def _viewer(principal: Principal) -> Viewer:
    return Viewer(
        tenant=principal.tenant,
        name=principal.actor.name or principal.actor.id,
        currency=principal.currency,
        sees_customers=bool({READ_CUSTOMERS, ALL_SCOPES} & principal.scopes),
    )
