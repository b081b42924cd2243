"""The whole API in this process, on a real database and a real port, and a client to call it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO

import aiohttp
import orjson
from multidict import CIMultiDictProxy
from prometheus_client import CollectorRegistry, Histogram
from yarl import URL

from service.cli.overview import KeptLook
from service.command_handler import CommandHandler
from service.event_log import EventLog
from service.http.app import App, Dependencies, build_app
from service.http.console import ConsoleParts
from service.http.operations import operations_pages
from service.http.pages import documentation_pages
from service.http.rate_limit import RateLimit
from service.http.request_metrics import RequestMetrics
from service.http.server import serve
from service.kafka import KafkaConfig
from service.postgres import POOL_SIZE_MAX, Postgres
from service.queries import Feed, Queries
from service.telemetry import Readiness
from service.token_keys import TokenKeys
from service.tokens import SCOPES, Authenticator, Tokens
from tests.support.logs import appending
from tests.support.up_to_date_queries import up_to_date
from tests.support.vaults import KEY, VAULT

ANSWER_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `json` is the body, or None where there is none."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        return orjson.loads(self.body)

    @property
    def code(self) -> str | None:
        """The problem's code."""
        return self.json.get("code") if self.status >= 400 else None

    @property
    def fault_codes(self) -> dict[str, str]:
        """By pointer."""
        return {fault["pointer"]: fault["code"] for fault in self.json.get("errors", [])}


@dataclass(slots=True)
class Api:
    """Calls with one token; `with_token` makes another caller of the same server."""

    url: str
    session: aiohttp.ClientSession
    token: str | None
    tokens: Tokens
    app: App

    def with_token(self, token: str | None) -> Api:
        return Api(self.url, self.session, token, self.tokens, self.app)

    async def with_scopes(self, *scopes: str, tenant: str = "default") -> Api:
        token = await self.tokens.create(tenant, scopes, currency="USD")
        return self.with_token(token.text)

    async def call(
        self,
        method: str,
        path: str,
        json: object = None,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> Answer:
        """`json` is sent as JSON, or `body` as it is; a header of None is left out."""
        every: dict[str, str | None] = {}
        if self.token is not None:
            every["Authorization"] = f"Bearer {self.token}"
        if json is not None:
            body = orjson.dumps(json)
        if body is not None:
            every["Content-Type"] = "application/json"
        every |= headers or {}
        given = {name: value for name, value in every.items() if value is not None}
        skipped = ["Content-Type", "Accept-Encoding"]
        url = URL(self.url + path, encoded=True)  # sent as it is
        data = None if body is None else BytesIO(body)
        async with self.session.request(
            method, url, data=data, headers=given, skip_auto_headers=skipped
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.call("GET", path, headers=_header_names(headers))

    async def post(self, path: str, json: object, **headers: str) -> Answer:
        return await self.call("POST", path, json, headers=_header_names(headers))

    async def put(self, path: str, json: object, **headers: str) -> Answer:
        return await self.call("PUT", path, json, headers=_header_names(headers))

    async def patch(self, path: str, json: object, **headers: str) -> Answer:
        return await self.call("PATCH", path, json, headers=_header_names(headers))

    async def delete(self, path: str, **headers: str) -> Answer:
        return await self.call("DELETE", path, headers=_header_names(headers))

    async def create(self, email: str = "jane@example.com", **fields: object) -> str:
        """A new customer; the path `/user/ID`."""
        answer = await self.post("/user", {"email": email, **fields})
        assert answer.status == 201, answer.body
        return f"/user/{answer.json['id']}"


def _header_names(headers: Mapping[str, str]) -> dict[str, str]:
    """if_match -> If-Match."""
    return {name.replace("_", "-"): value for name, value in headers.items()}


@asynccontextmanager
async def running_api(
    database_url: str, *, rate_limit: RateLimit | None = None
) -> AsyncIterator[Api]:
    """An API on a free port whose lists show at once what was written, and a token with every
    scope in tenant `default`."""
    async with (
        Postgres.connect(database_url) as postgres,
        up_to_date(postgres) as queries,
        serving_api(postgres, queries, rate_limit=rate_limit) as api,
    ):
        yield api


@asynccontextmanager
async def serving_api(
    postgres: Postgres, queries: Queries, *, rate_limit: RateLimit | None = None
) -> AsyncIterator[Api]:
    """The same, and what lists show is the caller's affair."""
    log = EventLog(postgres, VAULT)
    feed = Feed(postgres, log, pool_size_max=POOL_SIZE_MAX)
    async with appending(postgres) as appender:
        keys = TokenKeys(KEY)
        tokens = Tokens(postgres, keys)
        epoch = (await log.head()).epoch
        dependencies = Dependencies(
            commands=CommandHandler(log, appender),
            queries=queries,
            feed=feed,
            authenticator=Authenticator(postgres, keys),
            epoch=lambda: epoch,
            digest_key=KEY.subkey("idempotency"),
            rate_limit=rate_limit,
        )
        pages = {**operations_pages(ready, lambda: b"# none\n"), **documentation_pages()}
        # Without a Kafka, as an API may be that is told of none.
        console = ConsoleParts(KeptLook(postgres, KafkaConfig("")), KEY.subkey("console session"))
        app = build_app(request_metrics(), pages, dependencies, console=console)
        token = await tokens.create("default", SCOPES, currency="USD", name="tests")
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_SECONDS)
        async with (
            serve(app, "127.0.0.1", 0, shutdown_timeout_seconds=10) as port,
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            fed(feed),
        ):
            yield Api(f"http://127.0.0.1:{port}", session, token.text, tokens, app)


@asynccontextmanager
async def fed(feed: Feed) -> AsyncIterator[None]:
    """Streams of events are live for the length of the block."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(feed.run(stop))
        try:
            yield
        finally:
            stop.set()


def request_metrics() -> RequestMetrics:
    labels = ["method", "route", "status"]
    return RequestMetrics(Histogram("requests", "For tests.", labels, registry=CollectorRegistry()))


async def ready() -> Readiness:
    return Readiness(ready=True, degraded=False, missing=())
