"""The customer list as callers ask for it: waiting for a position, sharing, and reading.

Invariant: what is answered is never older than its request, and its position never newer than its
data. A list from memory was read at the mark where the read model still stood after the request
had come in; a list that is being read is shared only with those who asked before it began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias
from weakref import WeakValueDictionary

from service.list_request import ListRequest
from service.postgres import Postgres
from service.queries.list_answer import Listed
from service.queries.list_cache import ListCache
from service.queries.list_page import ListPages
from service.queries.loader import WAITING_MAX, Loader
from service.queries.progress import Progress

MIN_POSITION_WAIT_SECONDS = 2.0

_Key: TypeAlias = tuple[str, ListRequest]


class CustomerList:
    """Lists of one process."""

    def __init__(
        self,
        postgres: Postgres,
        cursor_key: bytes,
        *,
        statements_at_once_max: int,
        min_position_wait_seconds: float = MIN_POSITION_WAIT_SECONDS,
    ) -> None:
        self._progress = Progress(postgres)
        self._pages = ListPages(postgres, self._progress, cursor_key, statements_at_once_max)
        self._cache: ListCache[_Key] = ListCache()
        self._being_read: WeakValueDictionary[_Key, Loader[None, Listed]] = WeakValueDictionary()
        self._min_position_wait_seconds = min_position_wait_seconds

    async def list(self, tenant: str, request: ListRequest) -> Listed:
        """Raises Rejected `invalid_cursor`; Unavailable, of which `projection_lag` where the read
        model does not get to `min_position` in time."""
        if request.min_position is None:
            return await self._current(tenant, request)
        position, request = request.min_position, replace(request, min_position=None)
        deadline = asyncio.get_running_loop().time() + self._min_position_wait_seconds
        while True:
            await self._progress.reach(position, deadline)
            listed = await self._current(tenant, request)
            if listed.position >= position:
                return listed
            self._progress.forget()  # an older version of the read model was put back

    async def _current(self, tenant: str, request: ListRequest) -> Listed:
        key = (tenant, request)
        if key in self._cache:
            kept = self._cache.get(key, await self._progress.mark())
            if kept is not None:
                return kept
        reading = self._being_read.get(key)
        if reading is None:
            read = partial(self._read, key)
            reading = self._being_read[key] = Loader(read, batch_keys_max=WAITING_MAX)
        return await reading.load(None)

    async def _read(self, key: _Key, callers: Sequence[None]) -> Sequence[Listed]:
        mark, listed = await self._pages.read(*key)
        self._cache.put(key, mark, listed)
        return [listed] * len(callers)
