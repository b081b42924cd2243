"""One route of the table at work: everything that is checked before its handler runs.

Invariant: the order is token, rate, scope, epoch, query, body; so nobody learns about data, or has
a body read, who may not call, and every answer to a known token says what is left of its rate. Only
a request that has arrived whole, and is right, takes one of the slots for work; where a route says
that it takes none, its handler bounds itself.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from pydantic import TypeAdapter

from service.http.auth import Authenticator, bearer_of, check_scope
from service.http.bodies import read_body, validated
from service.http.call import Call, Handler
from service.http.headers import LOG_EPOCH
from service.http.large_answers import LargeAnswers, large_body
from service.http.problems import Refused
from service.http.query_string import QueryReader
from service.http.rate_limit import RateLimit, tell
from service.http.routes import Route
from service.http.slots import Held, Slots
from service.tokens import Principal


class Endpoint:
    """`prefix` stands before the route's own path: empty or /v1. `epoch` names the log."""

    def __init__(
        self,
        route: Route,
        prefix: str,
        handler: Handler,
        authenticator: Authenticator,
        rate_limit: RateLimit | None,
        epoch: Callable[[], str],
        slots: Slots,
        large_answers: LargeAnswers,
    ) -> None:
        self._route = route
        self._prefix = prefix
        self._handler = handler
        self._authenticator = authenticator
        self._rate_limit = rate_limit
        self._epoch = epoch
        self._slots = slots
        self._large_answers = large_answers
        self._query = QueryReader(route.query)
        self._body = route.body
        self._validate = TypeAdapter(route.body.model).validate_json if route.body else None

    async def __call__(
        self, request: web.BaseRequest, request_id: str, parts: list[str]
    ) -> web.StreamResponse:
        principal = await self._authenticator.authenticate(bearer_of(request.headers))
        if principal is None:
            raise Refused("invalid_token")
        if self._rate_limit is not None:
            admit(request, principal, self._rate_limit)
        check_scope(principal, self._route.scope)
        epoch = self._epoch()
        _check_epoch(request, epoch)
        query = self._query.read(request.rel_url.raw_query_string)
        call = Call(request, request_id, self._route, self._prefix, parts, principal, epoch, query)
        response = await self._handled(call)
        body = large_body(request, response)
        if body is None:
            return response
        assert isinstance(response, web.Response)
        return await self._large_answers.send(request, request_id, response, body)

    async def _handled(self, call: Call) -> web.StreamResponse:
        if not self._route.takes_slot:
            return await self._handler(call)
        if self._body is None or self._validate is None:
            async with self._slots:
                return await self._handler(call)
        with Held(self._slots) as held:
            call.body_bytes = await read_body(call.request, self._body.media_types, held)
            call.body = validated(self._validate, call.body_bytes)
            async with self._slots:
                return await self._handler(call)


def admit(request: web.BaseRequest, principal: Principal, rate_limit: RateLimit) -> None:
    """Raises Refused `rate_limited` with how long to wait."""
    allowance = rate_limit.take((principal.tenant, principal.actor.id))
    tell(request, allowance)
    if allowance.wait_seconds > 0:
        raise Refused("rate_limited", retry_after_seconds=allowance.wait_seconds)


def _check_epoch(request: web.BaseRequest, epoch: str) -> None:
    """Raises Refused `epoch_changed` where the caller speaks of another log."""
    if any(given != epoch for given in request.headers.getall(LOG_EPOCH, ())):
        raise Refused("epoch_changed", headers={LOG_EPOCH: epoch})
