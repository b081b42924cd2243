"""The console's door: who comes in with a token, who is in already, and how one leaves.

Invariant: who is in is asked of the token, at every request; a form that makes somebody come or go
is taken from our own pages alone.
"""

from __future__ import annotations

from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from service.console import Pages
from service.http.auth import Authenticator
from service.http.console_answers import ROOT, SIGN_IN, html, see_other
from service.http.forms import check_same_origin, read_form
from service.http.query_string import QueryReader
from service.http.sessions import BEARER_CHARACTERS_MAX, Sessions, has_cookie, is_https
from service.http.slots import Held, Slots
from service.tokens import Principal

_WRONG_TOKEN = "The token is unknown, expired or revoked."  # noqa: S105 - a sentence
_LONG_TOKEN = "The token is too long for a browser's cookie."  # noqa: S105
_ENDED = "Your session has ended, or its token was revoked. Sign in again."


class _SignInQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    ended: Literal["yes"] | None = None


class Door:
    """`slots` are the console's."""

    def __init__(
        self, pages: Pages, authenticator: Authenticator, session_key: bytes, slots: Slots
    ) -> None:
        self._pages = pages
        self._authenticator = authenticator
        self._sessions = Sessions(session_key, ROOT)
        self._slots = slots
        self._query = QueryReader(_SignInQuery)

    async def principal(self, request: web.BaseRequest) -> Principal | None:
        """Whoever is in. Raises Unavailable where nobody can tell now."""
        bearer = self._sessions.bearer(request)
        return None if bearer is None else await self._authenticator.authenticate(bearer)

    def lead_out(self, request: web.BaseRequest) -> web.Response:
        """For who is not, or no longer, in."""
        if not has_cookie(request):
            return see_other(SIGN_IN)
        response = see_other(f"{SIGN_IN}?ended=yes")
        self._sessions.end(response, is_https=is_https(request))
        return response

    async def show(self, request: web.BaseRequest, _: str, __: list[str]) -> web.StreamResponse:
        query = self._query.read(request.rel_url.raw_query_string)
        assert isinstance(query, _SignInQuery)
        return html(self._pages.sign_in(_ENDED if query.ended else None))

    async def sign_in(self, request: web.BaseRequest, _: str, __: list[str]) -> web.StreamResponse:
        check_same_origin(request)
        with Held(self._slots) as held:
            form = await read_form(request, held)
        bearer = form.get("token", "").strip()
        if len(bearer) > BEARER_CHARACTERS_MAX:
            return html(self._pages.sign_in(_LONG_TOKEN), 403)
        async with self._slots:
            principal = await self._authenticator.authenticate(bearer)
        if principal is None:
            return html(self._pages.sign_in(_WRONG_TOKEN), 403)
        response = see_other(ROOT)
        self._sessions.begin(response, bearer, is_https=is_https(request))
        return response

    async def sign_out(self, request: web.BaseRequest, _: str, __: list[str]) -> web.StreamResponse:
        check_same_origin(request)
        response = see_other(SIGN_IN)
        self._sessions.end(response, is_https=is_https(request))
        return response
