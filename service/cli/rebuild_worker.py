"""One of the processes that `rebuild` starts: a range of customers after the other.

Invariant: it is told nothing but the settings, for what there is to do is in the database; and it
ends with whoever started it.
"""

from __future__ import annotations

import asyncio
import gc
import os
from functools import partial

from projections.rebuild import fill, unfinished
from service.cli.connections import migrated_database, vault_of
from service.cli.role import loop_factory
from service.settings import Settings
from service.telemetry import configure_logging

STATEMENT_SECONDS_MAX = 3_600.0  # indexes of millions of customers
CONNECTIONS_MAX = 2


def run_rebuild_worker(settings: Settings) -> None:
    configure_logging("ERROR")
    gc.freeze()
    gc.disable()  # rows are many, and hold no cycles: one look after each range will do
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_work(settings))


async def _work(settings: Settings) -> None:
    """Until every range is taken."""
    starter = os.getppid()
    vault = vault_of(settings)
    async with migrated_database(
        settings, command_timeout_seconds=STATEMENT_SECONDS_MAX, pool_size_max=CONNECTIONS_MAX
    ) as postgres:
        build = await unfinished(postgres)
        if build is not None:
            goes_on = partial(_is_ours, starter)
            await fill(postgres, vault, build, goes_on, default_currency=settings.default_currency)


def _is_ours(starter: int) -> bool:
    gc.collect()
    return os.getppid() == starter
