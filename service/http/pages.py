"""What anybody may read: the documentation page, the API's descriptions, the event schemas.

Invariants: a page is made once, when it is first asked for, and is the same for everybody; it loads
nothing from elsewhere and runs no script but its own, which its Content-Security-Policy enforces.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import blake2b
from importlib.resources import files

import orjson
from aiohttp import hdrs, web

from service.http.asyncapi import asyncapi_document
from service.http.call import Page
from service.http.customer_routes import CUSTOMER_ROUTES
from service.http.event_schemas import published_schemas, schema_index, schema_names
from service.http.headers import COMMON_HEADERS
from service.http.json_schemas import JsonObject
from service.http.openapi import openapi_document
from service.http.routes import JSON, Route

SCHEMA_JSON = "application/schema+json"
DOCS_PATH = "/docs"
DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"

_STATIC = {
    "docs.html": "text/html; charset=utf-8",
    "docs.css": "text/css; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
    "elements.js": "text/javascript; charset=utf-8",
    "try.js": "text/javascript; charset=utf-8",
}
_DIGEST_BYTES = 16
_CODINGS = re.compile(r"([A-Za-z0-9*-]+)[ \t]*(?:;[ \t]*[qQ]=([01](?:\.[0-9]{0,3})?))?")


@dataclass(frozen=True)
class _Document:
    """A finished answer in its two forms."""

    body: bytes
    media_type: str
    policy: str

    @cached_property
    def gzipped(self) -> bytes:
        return gzip.compress(self.body, mtime=0)

    @cached_property
    def etag(self) -> str:
        """Weak, because both forms share it."""
        return f'W/"{blake2b(self.body, digest_size=_DIGEST_BYTES).hexdigest()}"'

    def response(self, request: web.BaseRequest) -> web.Response:
        headers = {
            **COMMON_HEADERS,
            hdrs.CACHE_CONTROL: "no-cache",  # may be kept, but has to be asked about
            hdrs.ETAG: self.etag,
            hdrs.VARY: hdrs.ACCEPT_ENCODING,
            hdrs.CONTENT_TYPE: self.media_type,
            "Content-Security-Policy": self.policy,
            "Referrer-Policy": "no-referrer",
        }
        if self.etag[2:] in request.headers.get(hdrs.IF_NONE_MATCH, ""):
            del headers[hdrs.CONTENT_TYPE]
            return web.Response(status=304, headers=headers)
        if not _takes_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, "")):
            return web.Response(body=self.body, headers=headers)
        headers[hdrs.CONTENT_ENCODING] = "gzip"
        return web.Response(body=self.gzipped, headers=headers)


def _takes_gzip(accepted: str) -> bool:
    """RFC 9110 12.5.3; a weight of 0 is a refusal."""
    weights = [weight for name, weight in _CODINGS.findall(accepted) if name.lower() == "gzip"]
    return bool(weights) and float(weights[0] or 1) > 0


def documentation_pages(routes: tuple[Route, ...] = CUSTOMER_ROUTES) -> Mapping[str, Page]:
    """By path, what answers GET to anybody; `routes` are the ones that are served."""
    pages = {
        "/openapi.json": _page(lambda: _described(openapi_document(routes))),
        "/asyncapi.json": _page(lambda: _described(asyncapi_document())),
        "/schemas": _page(lambda: _described(schema_index())),
        "/schemas/": _page(lambda: _described(schema_index())),
        DOCS_PATH: _static_page("docs.html"),
        f"{DOCS_PATH}/": _moved_to_docs,
    }
    pages |= {f"{DOCS_PATH}/{name}": _static_page(name) for name in _STATIC}
    return pages | {f"/schemas/{name}.json": _schema_page(name) for name in schema_names()}


def _described(document: JsonObject) -> _Document:
    return _Document(orjson.dumps(document), JSON, DATA_POLICY)


def _page(make: Callable[[], _Document]) -> Page:
    made = cache(make)

    async def answer(request: web.BaseRequest) -> web.Response:
        return made().response(request)

    return answer


def _schema_page(name: str) -> Page:
    def make() -> _Document:
        return _Document(orjson.dumps(published_schemas()[name]), SCHEMA_JSON, DATA_POLICY)

    return _page(make)


def _static_page(name: str) -> Page:
    def make() -> _Document:
        body = (files("service.http") / "static" / name).read_bytes()
        return _Document(body, _STATIC[name], DOCS_POLICY)

    return _page(make)


async def _moved_to_docs(_: web.BaseRequest) -> web.Response:
    """The page's own links are relative, so that it may be served below any path."""
    return web.Response(status=308, headers={**COMMON_HEADERS, hdrs.LOCATION: f"..{DOCS_PATH}"})
