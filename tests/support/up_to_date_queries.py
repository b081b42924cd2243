"""The read side for tests of the API that write and then list, and care nothing for the delay.

Invariant: nothing here answers; the real queries do, over what the real projection has written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from typing_extensions import override

from projections.applier import Applier
from projections.checkpoint import Checkpoints
from projections.log_feed import LogSource
from projections.observing import NoMetrics
from projections.runner import Runner
from projections.store import Store
from service.event_log import EventLog
from service.list_request import ListRequest
from service.postgres import Postgres
from service.queries import Listed, Queries
from service.queries.progress import Progress
from tests.support.projections import running
from tests.support.vaults import VAULT

CURSOR_KEY = b"a key of cursors, for tests"
WAIT_SECONDS = 15.0  # for what was written
MIN_POSITION_WAIT_SECONDS = 0.2  # for what a request names, which may never be written


class UpToDateQueries(Queries):
    """Lists wait for all that is in the log, unless they say themselves for what they wait."""

    def __init__(self, postgres: Postgres, log: EventLog) -> None:
        super().__init__(
            postgres, log, CURSOR_KEY, min_position_wait_seconds=MIN_POSITION_WAIT_SECONDS
        )
        self._log = log
        self._progress = Progress(postgres)

    @override
    async def list(self, tenant: str, request: ListRequest) -> Listed:
        if request.min_position is None:
            deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
            await self._progress.reach((await self._log.head()).position, deadline)
        return await super().list(tenant, request)


@asynccontextmanager
async def up_to_date(postgres: Postgres) -> AsyncIterator[UpToDateQueries]:
    """The queries, with a projection that follows the log for the length of the block."""
    log, checkpoints = EventLog(postgres, VAULT), Checkpoints(postgres)
    applier = Applier(Store(postgres), log, NoMetrics())
    source = LogSource(postgres, log, checkpoints)
    async with running(Runner(source, applier, log, checkpoints)):
        yield UpToDateQueries(postgres, log)
