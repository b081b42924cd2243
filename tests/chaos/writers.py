"""Writers in a process of their own: each sends what it wants to one API or another, again under
the same key until it is told what became of it, and writes down both.

Invariant: a writer has one wish at a time, so it foresees how its own customers look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from time import monotonic
from uuid import uuid4

import aiohttp
import orjson

from tests.chaos.book import Customer, visible
from tests.chaos.control import Told, configuration, say
from tests.chaos.journal import NO_ANSWER, Attempt, Write, save
from tests.chaos.wishes import Wishes, apply

ATTEMPT_TIMEOUT_SECONDS = 5.0
RESOLVED_WITHIN_SECONDS = 90.0
PAUSE_SECONDS = 0.1  # before another attempt
AGAIN = frozenset(
    {
        *("idempotency_in_flight", "version_conflict"),
        *("database_unavailable", "database_not_ready", "overloaded"),
    }
)


class Writer:
    def __init__(
        self, number: int, config: Mapping[str, object], session: aiohttp.ClientSession
    ) -> None:
        self._pauses = Random(number)
        self._urls: Sequence[str] = config["urls"]
        self._headers = {"Authorization": f"Bearer {config['token']}"}
        self._pause_seconds: float = config["pause_seconds"]
        self._session = session
        self._api = number  # whom it asks; another one where that does not answer
        victims = config["victims"][number :: config["writers"]]
        choose = Random(f"{config['seed']} {number}")
        self.wishes = Wishes(choose, config["shared"], victims)
        self.journal: list[Write] = []

    async def run(self, told: Told) -> None:
        while not told.is_stopping.is_set():
            write, customer = self.wishes.next()
            self.journal.append(write)
            await self._until_answered(write)
            self._note(write, customer)
            await asyncio.sleep(self._pauses.expovariate(1 / self._pause_seconds))

    async def _until_answered(self, write: Write) -> None:
        deadline = monotonic() + RESOLVED_WITHIN_SECONDS
        while True:
            attempt = Attempt(uuid4().hex, NO_ANSWER)
            write.attempts.append(attempt)
            try:
                async with asyncio.timeout(ATTEMPT_TIMEOUT_SECONDS):
                    await self._send(write, attempt)
            except (aiohttp.ClientError, TimeoutError, OSError):
                attempt.status = NO_ANSWER
            if attempt.status != NO_ANSWER and attempt.code not in AGAIN:
                return
            if monotonic() > deadline:
                return
            self._api += 1
            await asyncio.sleep(PAUSE_SECONDS)

    async def _send(self, write: Write, attempt: Attempt) -> None:
        headers = {
            **self._headers,
            "X-Request-Id": attempt.request_id,
            "Idempotency-Key": write.key,
        }
        if write.if_match is not None:
            headers["If-Match"] = f'"{write.if_match}"'
        data = None if write.body is None else orjson.dumps(write.body)
        if data is not None:
            headers["Content-Type"] = "application/json"
        url = self._urls[self._api % len(self._urls)] + write.path
        async with self._session.request(write.method, url, data=data, headers=headers) as answer:
            body = await answer.read()
        attempt.status = answer.status
        shown = orjson.loads(body) if body else None
        if answer.status >= 400:
            attempt.code = str(shown["code"])
            return
        write.version = int(answer.headers["ETag"].strip('"'))
        write.position = int(answer.headers["Log-Position"])
        write.epoch = answer.headers["Log-Epoch"]
        write.is_replayed = "Idempotent-Replayed" in answer.headers
        write.shown = shown

    def _note(self, write: Write, customer: Customer | None) -> None:
        wishes = self.wishes
        if write.last.status == NO_ANSWER or not write.is_acknowledged:
            return
        if write.kind in {"create", "update", "tag", "address"}:
            wishes.done.append(write)
        if customer is None:
            return
        apply(write, customer)
        if write.kind == "create":
            wishes.own.append(customer)
        if customer.is_deleted:
            wishes.own.remove(customer)
            wishes.gone.append(customer)
            gone = customer.path
            wishes.done = [each for each in wishes.done if not _is_about(each, gone)]
        elif _shows_customer(write) and visible(write.shown) != customer.shown():
            write.fault = f"shown {visible(write.shown)}, wanted {customer.shown()}"


def _shows_customer(write: Write) -> bool:
    return isinstance(write.shown, dict) and "email" in write.shown


def _is_about(write: Write, path: str) -> bool:
    return f"/user/{write.customer_id}" == path


async def main() -> None:
    config, told = configuration(), Told()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        writers = [Writer(number, config, session) for number in config["numbers"]]
        async with asyncio.TaskGroup() as group:
            for writer in writers:
                group.create_task(writer.run(told))
    file = Path(config["file"])
    save(file, [write for writer in writers for write in writer.journal])
    own = [
        {"id": customer.id, "shown": customer.shown(), "is_deleted": customer.is_deleted}
        for writer in writers
        for customer in [*writer.wishes.own, *writer.wishes.gone]
    ]
    file.with_suffix(".customers").write_bytes(orjson.dumps(own))
    say(writes=sum(len(writer.journal) for writer in writers))


if __name__ == "__main__":
    asyncio.run(main())
