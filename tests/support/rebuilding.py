"""A read model that is built anew beside the one that is read, step by step, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from projections.checkpoint import Checkpoints, Projection
from projections.kept import log_runner
from projections.rebuild import Build, Comparison, begin, compare, fill, finish, flip
from projections.versions import active
from service.errors import ConfigurationError
from service.event_log import EventLog
from service.postgres import Postgres
from service.rights import grant_rights
from tests.support.topics import eventually
from tests.support.vaults import VAULT
from tests.support.verifying import Watched

RANGE_EVENTS = 20  # a few customers

grant = partial(grant_rights, owners=("projections",))


def always() -> bool:
    return True


async def begun(postgres: Postgres) -> Build:
    return await begin(postgres, grant, RANGE_EVENTS)


async def fill_all(postgres: Postgres, build: Build, *, page_events_max: int = 7) -> None:
    await fill(postgres, VAULT, build, always, page_events_max=page_events_max)


async def built(postgres: Postgres) -> Build:
    """Filled, with indexes; not caught up."""
    build = await begun(postgres)
    await fill_all(postgres, build)
    return await finish(postgres, build)


@asynccontextmanager
async def fed(postgres: Postgres, projection: Projection) -> AsyncIterator[None]:
    """While a version is kept up to date from the log, whether it is read or not."""
    runner = log_runner(postgres, EventLog(postgres, VAULT), projection, default_currency="USD")

    async def feed() -> None:
        with suppress(ConfigurationError):  # the workers feed it by now
            await runner.run()

    async with asyncio.TaskGroup() as group:
        group.create_task(feed())
        try:
            yield
        finally:
            runner.stop()


async def caught_up(postgres: Postgres, projection: Projection) -> None:
    """Once it shows where the log ends."""
    checkpoints, log = Checkpoints(postgres, projection), EventLog(postgres)

    async def is_there() -> bool:
        return await checkpoints.position() == (await log.head()).position

    await eventually(is_there)


async def compared(postgres: Postgres, build: Build) -> Comparison:
    return await compare(postgres, build, await active(postgres), Watched())


async def gone_over(postgres: Postgres, new: Projection) -> None:
    """Caught up and gone over to, while nobody else feeds it."""
    async with fed(postgres, new):
        await caught_up(postgres, new)
        await flip(postgres, await active(postgres), new)
