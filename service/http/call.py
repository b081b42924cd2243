"""One request on its way through a handler, and the answers that handlers give.

Invariant: a handler finds everything checked: who calls, the query, the body and its fields.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from aiohttp import hdrs, web
from pydantic import BaseModel

from service.errors import NotFound
from service.http.headers import COMMON_HEADERS
from service.http.routes import JSON, Route
from service.identifiers import AddressId, CustomerId
from service.tokens import Principal

ID_CHARACTERS_MAX = 128  # ours are shorter; what is longer names nothing


@dataclass(slots=True)
class Call:
    """`parts` are the path's parts in braces, decoded; `body_bytes` is as it came."""

    request: web.BaseRequest
    request_id: str
    route: Route
    prefix: str  # before the route's own path: empty or /v1
    parts: list[str]
    principal: Principal
    epoch: str  # of the log that positions and versions belong to
    query: BaseModel | None = None
    body: BaseModel | None = None
    body_bytes: bytes = b""

    @property
    def customer_id(self) -> CustomerId:
        """Raises NotFound for what can name no customer."""
        return opaque_customer_id(self.parts[0])

    @property
    def address_id(self) -> AddressId:
        return AddressId(_opaque(self.parts[1], "address_not_found"))


Handler: TypeAlias = Callable[[Call], Awaitable[web.StreamResponse]]
Page: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
"""Answers GET to anybody, without a token. Each call makes a response of its own."""


def json_response(status: int, body: bytes, headers: dict[str, str]) -> web.Response:
    """An answer with a finished JSON body; `headers` are what it has besides the common ones."""
    every = {hdrs.CONTENT_TYPE: JSON, **COMMON_HEADERS, **headers}
    return web.Response(status=status, body=body, headers=every)


def empty_response(status: int, headers: dict[str, str]) -> web.Response:
    return web.Response(status=status, headers={**COMMON_HEADERS, **headers})


def opaque_customer_id(text: str) -> CustomerId:
    """Raises NotFound for what can name no customer."""
    return CustomerId(_opaque(text, "customer_not_found"))


def _opaque(text: str, code: str) -> str:
    """Whatever is stored as an id is short printable ASCII; nothing else is looked up."""
    if len(text) > ID_CHARACTERS_MAX or not (text.isascii() and text.isprintable()):
        raise NotFound(code)
    return text
