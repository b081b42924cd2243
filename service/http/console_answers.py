"""What every answer of the console is made of: where it lies, its headers, and its one policy.

Invariant: whatever is answered below ROOT, a page, a file or a way to another page, carries POLICY,
under which nothing runs, and nothing is loaded from or sent to elsewhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from aiohttp import hdrs, web

from service.console import StaticFile
from service.http.headers import COMMON_HEADERS

ROOT = "/console"
SIGN_IN = f"{ROOT}/sign-in"
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
FILE_SECONDS = 300  # for which a browser need not ask for a file again

# With `no-referrer` browsers would not say where our own forms come from.
_HEADERS: Mapping[str, str] = {
    **COMMON_HEADERS,
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
}
_HTML: Mapping[str, str] = {**_HEADERS, hdrs.CONTENT_TYPE: "text/html; charset=utf-8"}

Answering: TypeAlias = Callable[[web.BaseRequest, str, list[str]], Awaitable[web.StreamResponse]]
"""Answers a request, given its id and the path's parts that stand in braces."""


def html(page: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=page, headers={**_HTML, **(headers or {})})


def see_other(path: str) -> web.Response:
    """Get that page, whatever was asked for how."""
    return web.Response(status=303, headers={**_HEADERS, hdrs.LOCATION: path})


def file_of(file: StaticFile) -> Answering:
    headers: Mapping[str, str] = {
        **_HEADERS,
        hdrs.CONTENT_TYPE: file.media_type,
        hdrs.CACHE_CONTROL: f"max-age={FILE_SECONDS}",
    }

    async def answer(_: web.BaseRequest, __: str, ___: list[str]) -> web.StreamResponse:
        return web.Response(body=file.body, headers=headers)

    return answer


async def moved(_: web.BaseRequest, __: str, ___: list[str]) -> web.StreamResponse:
    """The address without the slash at its end."""
    return web.Response(status=308, headers={**_HEADERS, hdrs.LOCATION: ROOT})
