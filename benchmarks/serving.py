"""Requests per second of the API, each row between two looks at the bare handler.

Invariant: the API and the bare handler are one process each, loaded in the same way, never at the
same time; a row's ratio is to the mean of the bare handler right before and right after it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from pathlib import Path

from benchmarks.figures import CREATE, DEPTH, Figure, Target
from benchmarks.processes import Service, bare_handler
from benchmarks.reads import Read, reads, stirred
from benchmarks.seeding import Seeded
from benchmarks.sizes import Sizes
from benchmarks.wrk import Load, run_wrk, write_paths
from service.postgres import Postgres

GROUPS = ("get", "tag", "sdk", "q", "page", "cursor", "create")


class Serving:
    """Measures rows one after the other."""

    def __init__(
        self, bare_url: str, url: str, token: str, sizes: Sizes, tell: Callable[[str], None]
    ) -> None:
        self._bare_url = bare_url
        self._url = url
        self._token = token
        self._sizes = sizes
        self._tell = tell
        self._bare_before: Load | None = None
        self.bare_loads: list[Load] = []

    async def row(
        self,
        name: str,
        title: str,
        script: str,
        arguments: list[str],
        target: Target | None,
        around: AbstractAsyncContextManager[None],
    ) -> Figure:
        """`around` is entered while the API is loaded, and only then."""
        sizes = self._sizes
        before = self._bare_before or await self._bare()
        async with around:
            await self._load(self._url, script, arguments, sizes.warm_seconds)
            found = await self._load(self._url, script, arguments, sizes.load_seconds)
        after = self._bare_before = await self._bare()
        ratio = found.per_second / ((before.per_second + after.per_second) / 2)
        self._tell(f"{title}: {found.per_second:,.0f} requests/s, {ratio:.2f} of bare")
        return Figure(
            name,
            title,
            found.per_second,
            "requests/s",
            p50_ms=found.p50_ms,
            p99_ms=found.p99_ms,
            ratio=ratio,
            target=target,
        )

    async def _bare(self) -> Load:
        found = await self._load(self._bare_url, "create.lua", [], self._sizes.bare_seconds)
        self.bare_loads.append(found)
        return found

    async def _load(self, url: str, script: str, arguments: list[str], seconds: float) -> Load:
        """Every run gets a word of its own, so that no e-mail or key comes twice."""
        word = str(secrets.randbelow(10**9)) if script == "read.lua" else f"r{secrets.token_hex(6)}"
        return await run_wrk(url, script, [word, *arguments], token=self._token, seconds=seconds)


async def measure_serving(
    service: Service,
    token: str,
    seeded: Seeded,
    sizes: Sizes,
    wanted: Collection[str],
    tell: Callable[[str], None],
) -> list[Figure]:
    """The rows of the groups that are wanted; creating comes last, since it makes the log grow."""
    async with AsyncExitStack() as stack:
        bare = await stack.enter_async_context(bare_handler(service.folder))
        api = await stack.enter_async_context(service.role("api"))
        postgres = await stack.enter_async_context(
            Postgres.connect(service.database_url, pool_size_max=1)
        )
        serving = Serving(bare.url, api.url, token, sizes, tell)
        found = await reads(api.url, token, seeded, sizes.places)
        chosen = [read for read in found if read.group in wanted]
        figures = [await _read(serving, read, postgres, service.folder) for read in chosen]
        if "cursor" in wanted:
            figures.append(_depth(figures))
        if "create" in wanted:
            row = serving.row("create", "create", "create.lua", [], CREATE, nullcontext())
            figures.append(await row)
    return [_bare_figure(serving.bare_loads), *figures]


async def _read(serving: Serving, read: Read, postgres: Postgres, folder: Path) -> Figure:
    arguments = [str(write_paths(read.name, read.paths, folder))]
    around = stirred(postgres) if read.is_stirred else nullcontext()
    return await serving.row(read.name, read.title, "read.lua", arguments, read.target, around)


def _depth(figures: list[Figure]) -> Figure:
    rates = {figure.name: figure.value for figure in figures}
    value = rates["cursor_deep"] / rates["cursor_first"]
    return Figure("depth", "deep cursor to first page", value, "of page 1", target=DEPTH)


def _bare_figure(loads: list[Load]) -> Figure:
    """The mean over the whole run."""
    seconds = sum(load.seconds for load in loads)
    return Figure(
        "bare",
        "bare handler",
        sum(load.requests for load in loads) / seconds,
        "requests/s",
        p50_ms=sum(load.p50_ms for load in loads) / len(loads),
        p99_ms=max(load.p99_ms for load in loads),
        ratio=1.0,
    )
