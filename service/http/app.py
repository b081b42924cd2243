"""The API as one callable: from a request to its answer, whatever happens on the way.

Invariants: every answer carries a request id; an error of any kind is answered as a problem; what a
route checks is what its row in the table says; customer routes share their slots, and pages answer
all the same. This sits on aiohttp's low-level server, without its application layer: one dispatch
instead of two, and every refusal in one form.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import structlog
from aiohttp import hdrs, web

from service.errors import RightMissing
from service.http.addresses import Addresses
from service.http.auth import Authenticator
from service.http.bodies import check_expectation
from service.http.call import Handler, Page
from service.http.correlation import X_REQUEST_ID, request_id_of, traceparent_of
from service.http.customer_routes import CUSTOMER_ROUTES
from service.http.customers import Customers, Queries
from service.http.endpoint import Endpoint
from service.http.feed import Feed, FeedQueries
from service.http.history import History, HistoryQueries
from service.http.large_answers import LargeAnswers
from service.http.orders import OrderQueries, Orders
from service.http.problems import Refused, problem_response, refused
from service.http.rate_limit import RateLimit, told
from service.http.request_spans import OWN_TRACEPARENT, RequestSpans
from service.http.router import Place, Router
from service.http.routes import VERSION_PREFIX, Route
from service.http.slots import Slots
from service.http.tags import Tags
from service.http.writes import Commands, Writes

if TYPE_CHECKING:
    from service.http.console import Console, ConsoleParts

UNKNOWN_ROUTE = "unknown"  # the metrics' label for paths that nothing answers

Answering: TypeAlias = Callable[[web.BaseRequest, str, list[str]], Awaitable[web.StreamResponse]]
"""Answers a request, given its id and the path's parts that stand in braces."""


class AllQueries(Queries, OrderQueries, HistoryQueries, Protocol):
    """What is read."""


class RequestObserver(Protocol):
    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Called once for each answer; `route` is a path template."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What the customer routes work with. `epoch` names the log that positions belong to;
    `digest_key` is that of the digests in which idempotency keys are stored."""

    commands: Commands
    queries: AllQueries
    feed: FeedQueries
    authenticator: Authenticator
    epoch: Callable[[], str]
    digest_key: bytes
    rate_limit: RateLimit | None = None
    spans: RequestSpans | None = None


class App:
    """Answers requests; `serve` puts it behind a port. Paths in `untraced` get no span."""

    def __init__(
        self,
        router: Router[Answering],
        observer: RequestObserver,
        *,
        has_rate_limit: bool,
        console: Console | None = None,
        spans: RequestSpans | None = None,
        untraced: Collection[str] = (),
    ) -> None:
        self._console = console
        self._spans = spans
        self._untraced = untraced
        self._has_rate_limit = has_rate_limit
        self._router = router
        self._observer = observer
        self._log = structlog.get_logger()
        self.in_flight = 0  # requests that are not answered yet
        self.is_draining = False  # from now on every answer closes its connection

    @property
    def handler(self) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
        """What a server calls. Chosen once: a request pays for a span only where there is one."""
        return self if self._spans is None else self._traced(self._spans)

    def _traced(
        self, spans: RequestSpans
    ) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            found = self._router.find(request.rel_url.raw_path)
            route = None if found is None else found[0].template
            if route in self._untraced:
                return await self(request)
            with spans.request(request.method, route, traceparent_of(request)) as span:
                request[OWN_TRACEPARENT] = span.traceparent
                response = await self(request)
                span.answered(response.status)
                return response

        return answer

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        started = time.perf_counter()
        request_id = request_id_of(request.headers)
        found = self._router.find(request.rel_url.raw_path)
        self.in_flight += 1
        try:
            response = await self._answer(request, request_id, found)
        except Exception as error:  # the top of every request
            response = self._problem(request, self._refusal(error, request_id), request_id)
        finally:
            self.in_flight -= 1
        response.headers[X_REQUEST_ID] = request_id
        if self._has_rate_limit:
            response.headers.update(told(request))
        if self.is_draining:
            response.force_close()
        route = UNKNOWN_ROUTE if found is None else found[0].template
        seconds = time.perf_counter() - started
        self._observer.observe_request(request.method, route, response.status, seconds)
        return response

    def _answer(
        self,
        request: web.BaseRequest,
        request_id: str,
        found: tuple[Place[Answering], list[str]] | None,
    ) -> Awaitable[web.StreamResponse]:
        if found is None:
            raise Refused("route_not_found")
        place, parts = found
        answering = place.methods.get(request.method)
        if answering is None:
            allowed = place.allowed
            headers: dict[str, str] = {hdrs.ALLOW: ", ".join(allowed)}
            raise Refused("method_not_allowed", allowed=allowed, headers=headers)
        if hdrs.EXPECT in request.headers:
            check_expectation(request)
        return answering(request, request_id, parts)

    def _problem(self, request: web.BaseRequest, refusal: Refused, request_id: str) -> web.Response:
        """As a page, where people look."""
        if self._console is not None and self._console.has(request.rel_url.raw_path):
            return self._console.problem(refusal, request_id)
        return problem_response(refusal, request_id)

    def _refusal(self, error: Exception, request_id: str) -> Refused:
        refusal = refused(error)
        if refusal is None:
            self._log.error("request_failed", request_id=request_id, exc_info=error)
            return Refused("internal_error")
        if isinstance(error, RightMissing):  # which right is told to operators, not to callers
            self._log.error("right_missing", request_id=request_id, detail=str(error))
        return refusal


def build_app(
    observer: RequestObserver,
    pages: Mapping[str, Page],
    dependencies: Dependencies | None = None,
    more_routes: Sequence[tuple[Route, Handler]] = (),
    console: ConsoleParts | None = None,
) -> App:
    """`pages` by path, for every role; the customer routes where there are dependencies.

    `more_routes` are routes of other rooms' making, checked just like the customer routes. The
    console stands beside customer routes only.
    """
    shown: Console | None = None
    router: Router[Answering] = Router()
    for path, page in pages.items():
        router.add("GET", path, _without_token(page))
    if dependencies is not None:
        slots, large_answers = Slots(), LargeAnswers()
        for route, handler in (*customer_routes(dependencies), *more_routes):
            for prefix in ("", VERSION_PREFIX):
                endpoint = Endpoint(
                    route,
                    prefix,
                    handler,
                    dependencies.authenticator,
                    dependencies.rate_limit,
                    dependencies.epoch,
                    slots,
                    large_answers,
                )
                router.add(route.method, prefix + route.path, endpoint)
        if console is not None:
            from service.http.console import Console  # and the templates, which no other role needs

            shown = Console(
                console,
                dependencies.queries,
                dependencies.authenticator,
                dependencies.rate_limit,
                large_answers,
            )
            for (method, path), answering in shown.routes().items():
                router.add(method, path, answering)
    has_rate_limit = dependencies is not None and dependencies.rate_limit is not None
    return App(
        router,
        observer,
        has_rate_limit=has_rate_limit,
        console=shown,
        spans=None if dependencies is None else dependencies.spans,
        untraced=frozenset(pages),
    )


def customer_routes(dependencies: Dependencies) -> Sequence[tuple[Route, Handler]]:
    """Every row of the table with its handler."""
    is_traced = dependencies.spans is not None
    writes = Writes(dependencies.commands, dependencies.digest_key, is_traced=is_traced)
    customers = Customers(writes, dependencies.queries)
    addresses, tags = Addresses(writes), Tags(writes)
    orders, history = Orders(dependencies.queries), History(dependencies.queries)
    feed = Feed(dependencies.feed, dependencies.authenticator)
    handlers: Mapping[str, Handler] = {
        "listCustomers": customers.list,
        "createCustomer": customers.create,
        "getCustomer": customers.get,
        "updateCustomer": customers.update,
        "patchCustomer": customers.update,
        "deleteCustomer": customers.delete,
        "addAddress": addresses.add,
        "updateAddress": addresses.update,
        "removeAddress": addresses.remove,
        "addTags": tags.add,
        "removeTag": tags.remove,
        "listOrders": orders.list,
        "listEvents": history.events,
        "exportCustomer": history.export,
        "readFeed": feed.read,
    }
    return [(route, handlers[route.operation_id]) for route in CUSTOMER_ROUTES]


def _without_token(page: Page) -> Answering:
    async def answer(request: web.BaseRequest, _: str, __: list[str]) -> web.StreamResponse:
        return await page(request)

    return answer
