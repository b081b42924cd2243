"""Callers who write over HTTP, and a ledger of what they asked for and what they were told.

Invariant: every attempt carries a request id of its own, which the log keeps with the events; so
whatever is in the log can be told apart by who asked for it, and how often it was carried out.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from uuid import uuid4

import aiohttp

from tests.support.topics import eventually
from tests.system.installation import Installation, Role

ANSWERED_WITHIN_SECONDS = 45.0  # whatever is killed meanwhile
ATTEMPT_TIMEOUT_SECONDS = 10.0
PAUSE_SECONDS = 0.05  # before another attempt
CALLERS_PAUSE_SECONDS = 0.05  # between writes: load enough, and little to read at the end
AGAIN = frozenset({"idempotency_in_flight", "database_unavailable", "overloaded"})


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    etag: str | None
    position: int | None
    body: bytes
    code: str | None  # of a problem
    retry_after: str | None
    is_replayed: bool

    @property
    def version(self) -> int:
        assert self.etag is not None
        return int(self.etag.strip('"'))

    @property
    def path(self) -> str:
        """Where the customer in the body is found."""
        return f"/user/{json.loads(self.body)['id']}"


@dataclass(slots=True)
class Write:
    """One thing that a caller wanted, and its answers: several where it was sent several times."""

    method: str
    path: str
    body: object
    key: str | None
    if_match: int | None
    changes: bool  # False: must be acknowledged and leave no trace
    request_ids: list[str] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)  # the last one of each sender

    @property
    def is_acknowledged(self) -> bool:
        return any(answer.status < 300 for answer in self.answers)


@dataclass
class Ledger:
    writes: list[Write] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)  # of every attempt
    problems: Counter[str] = field(default_factory=Counter)  # their codes
    lost: int = 0  # attempts without an answer

    @property
    def acknowledged(self) -> int:
        return sum(write.is_acknowledged for write in self.writes)


class Caller:
    """Sends to the APIs in turn, as they are named by then, as a proxy does to those that are
    ready; under a key, again until it is told what became of it."""

    def __init__(self, system: Installation, apis: Sequence[Role], ledger: Ledger) -> None:
        self._system = system
        self._apis = apis
        self._ledger = ledger
        self._turns = count()

    async def write(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        if_match: int | None = None,
        changes: bool = True,
        senders: int = 1,
    ) -> Answer:
        """The first of the senders' answers; all of them are in the ledger."""
        write = Write(method, path, body, key, if_match, changes)
        self._ledger.writes.append(write)
        if key is None:
            write.answers.append(await self._attempt(write))
        else:
            sending = (self._until_answered(write) for _ in range(senders))
            write.answers += await asyncio.gather(*sending)
        return write.answers[0]

    async def _until_answered(self, write: Write) -> Answer:
        deadline = monotonic() + ANSWERED_WITHIN_SECONDS
        while True:
            try:
                answer = await self._attempt(write)
                if answer.code not in AGAIN:
                    return answer
                assert answer.retry_after is not None
            except (aiohttp.ClientError, TimeoutError):
                self._ledger.lost += 1
            assert monotonic() < deadline, f"{write} was not answered"
            await asyncio.sleep(PAUSE_SECONDS)

    async def _attempt(self, write: Write) -> Answer:
        request_id = uuid4().hex
        write.request_ids.append(request_id)
        headers = {**self._system.headers, "X-Request-Id": request_id}
        if write.key is not None:
            headers["Idempotency-Key"] = write.key
        if write.if_match is not None:
            headers["If-Match"] = f'"{write.if_match}"'
        url = self._next_url() + write.path
        timeout = aiohttp.ClientTimeout(total=ATTEMPT_TIMEOUT_SECONDS)
        async with self._system.session.request(
            write.method, url, json=write.body, headers=headers, timeout=timeout
        ) as response:
            answer = await _answer(response)
        self._ledger.statuses[answer.status] += 1
        self._ledger.problems.update([answer.code] if answer.code else [])
        return answer

    async def get(self, path: str) -> Answer:
        url = self._next_url() + path
        async with self._system.session.get(url, headers=self._system.headers) as response:
            return await _answer(response)

    def _next_url(self) -> str:
        return self._apis[next(self._turns) % len(self._apis)].url


async def _answer(response: aiohttp.ClientResponse) -> Answer:
    body = await response.read()
    headers = response.headers
    position = headers.get("Log-Position")
    return Answer(
        status=response.status,
        etag=headers.get("ETag"),
        position=None if position is None else int(position),
        body=body,
        code=json.loads(body)["code"] if response.status >= 400 else None,
        retry_after=headers.get("Retry-After"),
        is_replayed="Idempotent-Replayed" in headers,
    )


@dataclass
class Load:
    """Callers who write without end; `grows` waits until that many more are acknowledged."""

    ledger: Ledger

    async def grows(self, writes: int) -> None:
        wanted = self.ledger.acknowledged + writes

        async def is_reached() -> bool:
            return self.ledger.acknowledged >= wanted

        await eventually(is_reached, ANSWERED_WITHIN_SECONDS)


@asynccontextmanager
async def under_load(
    system: Installation, apis: Sequence[Role], ledger: Ledger, *, callers: int = 8
) -> AsyncIterator[Load]:
    """Every caller gets an answer to the last write they began, and only then the block ends."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(_keep_writing(Caller(system, apis, ledger), stop))
        try:
            yield Load(ledger)
        finally:
            stop.set()


async def _keep_writing(caller: Caller, stop: asyncio.Event) -> None:
    """Customer after customer, each created and then changed in several ways."""

    def key() -> str:
        return uuid4().hex

    while not stop.is_set():
        email = f"{uuid4().hex}@example.com"
        created = await caller.write("POST", "/user", {"email": email}, key=key())
        assert created.status == 201, created
        changes: list[tuple[str, str, object]] = [
            ("PUT", "", {"firstName": "Jane", "tags": ["new", "vip"], "active": False}),
            ("POST", "/tag", {"tags": ["early"]}),
            ("POST", "/address", {"line1": "456 Oak Ave", "city": "Portland", "country": "US"}),
        ]
        for method, path, body in changes:
            if stop.is_set():
                return
            changed = await caller.write(method, created.path + path, body, key=key())
            assert changed.status in {200, 201}, changed
            await asyncio.sleep(CALLERS_PAUSE_SECONDS)
