"""What is asked for, row by row, as files of paths that wrk draws from at random.

Invariant: "again" asks for one list and nothing else, which the service may answer from memory;
"different" asks from so many places, while the mark of the read model moves, that it cannot.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote

import aiohttp
import orjson

from benchmarks.figures import GET, LIST, SEARCH, Target
from benchmarks.seeding import SQL, Seeded
from service.postgres import Postgres

DISPLAY = 20  # the default
DEPTH = 0.9  # of all rows
STIR_SECONDS = 0.005  # between moves of the mark: as if so many batches were applied
TAG_LIST = "/user?tag=vip"
SDK_LIST = "/user?tag=vip&sort=totalSpent:desc&display=50"


@dataclass(frozen=True, slots=True)
class Read:
    """A row: `group` is what `--only` names."""

    group: str
    name: str
    title: str
    paths: Sequence[str]
    is_stirred: bool = False
    target: Target | None = None


async def reads(url: str, token: str, seeded: Seeded, places: int) -> list[Read]:
    """Every row. Walks through some lists to learn places in them."""
    deep = int(seeded.customers * DEPTH)
    pages = range(deep // DISPLAY + 1, seeded.customers // DISPLAY)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(url, headers=headers) as session:
        near_top = await _places(session, "/user?", places)
        far_down = await _places(session, f"/user?page={deep}&", places)
        in_tag = await _places(session, f"{TAG_LIST}&", places)
        in_sdk = await _places(session, "/user?tag=vip&sort=totalSpent:desc&", places)
    return [
        Read("get", "get", "get by id", [f"/user/{each}" for each in seeded.ids], target=GET),
        Read("tag", "tag_again", "list by tag, the same again", [TAG_LIST], target=LIST),
        _different("tag", "list by tag, different ones", TAG_LIST, in_tag),
        Read("sdk", "sdk_again", "SDK's list, the same again", [SDK_LIST], target=LIST),
        _different("sdk", "SDK's list, different ones", SDK_LIST, in_sdk),
        _search("q_email", "search by a whole e-mail", seeded.emails),
        _search("q_name", "search by first and last name", seeded.names),
        Read(
            "page",
            "page_deep",
            "page at nine tenths, different ones",
            [f"/user?page={page}" for page in pages],
            is_stirred=True,
        ),
        Read("cursor", "cursor_first", "by cursor near the top", _at("/user?", near_top), True),
        Read("cursor", "cursor_deep", "by cursor at nine tenths", _at("/user?", far_down), True),
    ]


@asynccontextmanager
async def stirred(postgres: Postgres) -> AsyncIterator[None]:
    """The mark of the read model moves while the block runs."""

    async def stir() -> None:
        while True:
            await postgres.execute(SQL["stir"])
            await asyncio.sleep(STIR_SECONDS)

    task = asyncio.create_task(stir())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        await postgres.execute(SQL["stir_no_more"])


async def _places(session: aiohttp.ClientSession, path: str, wanted: int) -> list[str]:
    """Cursors behind each of the rows that follow; a cursor fits any `display`."""
    found: list[str] = []
    following = path
    while len(found) < wanted:
        async with session.get(f"{following}display=1") as answer:
            answer.raise_for_status()
            cursor = orjson.loads(await answer.read())["nextCursor"]
        if cursor is None:
            break
        found.append(cursor)
        following = f"{path.partition('page=')[0]}cursor={cursor}&"
    # A page that is full follows on all but the last of them.
    return found[: max(1, len(found) - 50)] if len(found) < wanted else found


def _different(group: str, title: str, path: str, cursors: Sequence[str]) -> Read:
    name = f"{group}_different"
    return Read(group, name, title, _at(f"{path}&", cursors), is_stirred=True, target=LIST)


def _search(name: str, title: str, texts: Sequence[str]) -> Read:
    mixed = random.Random(1).sample(list(texts), len(texts))
    paths = [f"/user?q={quote(text)}" for text in mixed]
    return Read("q", name, title, paths, is_stirred=True, target=SEARCH)


def _at(path: str, cursors: Sequence[str]) -> list[str]:
    return [f"{path}cursor={cursor}" for cursor in cursors]
