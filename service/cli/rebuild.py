"""`customers rebuild`: the read model anew from the log, and back to the one of before.

Invariants: nothing that is read changes before the flip; killed at any moment, it goes on when run
again. Its processes are told nothing but the settings: what there is to do is in the database.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from time import monotonic

from projections.checkpoint import Checkpoints, Projection
from projections.kept import log_runner
from projections.rebuild import (
    Build,
    begin,
    compare,
    drop,
    filled,
    finish,
    flip,
    unfinished,
)
from projections.runner import Runner
from projections.versions import active, versions
from service.cli.connections import migrated_database, vault_of
from service.cli.output import Failed, print_json, say
from service.cli.progress import progress
from service.cli.rebuild_report import document, print_differences, tell
from service.cli.rebuild_worker import STATEMENT_SECONDS_MAX
from service.errors import ConfigurationError
from service.event_log import EventLog
from service.findings import Progress
from service.postgres import Postgres
from service.rights import grant_rights
from service.settings import Settings
from service.telemetry import configure_logging
from service.vault import Vault

CONNECTIONS_MAX = 6
POLL_SECONDS = 0.25  # between looks at how far it is
WORKER_COMMAND = ("-m", "service", "rebuild-worker")


@dataclass(slots=True)
class _Tools:
    """What every step needs."""

    postgres: Postgres
    vault: Vault
    currency: str
    told: Progress

    @property
    def log(self) -> EventLog:
        return EventLog(self.postgres, self.vault)


async def rebuild(settings: Settings, processes: int, *, is_forced: bool, as_json: bool) -> None:
    """Raises Failed where the two versions differ, once that is printed; and is not `is_forced`.
    EventsArchived where not all of the log is there."""
    started = monotonic()
    async with _tools(settings) as tools:
        await tools.log.require(0)
        read = await active(tools.postgres)
        build = await _begun(tools)
        events, seconds = 0, 0.0
        if build.phase == "filling":
            events, seconds = await _fill(tools, build, processes)
        say("Building indexes, where they are missing.")
        build = await finish(tools.postgres, build)
        async with _fed(tools, build.projection):
            await _catch_up(tools, build.projection)
            compared = await compare(tools.postgres, build, read, tools.told)
            is_gone_over = compared.is_equal or is_forced
            if is_gone_over:
                await flip(tools.postgres, read, build.projection)
    if as_json:
        rate = round(events / seconds) if seconds else None
        print_json(document(build, compared, is_gone_over, events, rate, monotonic() - started))
    else:
        print_differences(compared)
    tell(build, compared)
    if not is_gone_over:
        raise Failed(
            f"Version {build.version} differs from what is read ({compared.different:,} customers,"
            f" {compared.own.total:,} contradictions of its own), so nothing was changed: look at"
            " `customers verify`; then --force goes over to it, and --abandon removes it."
        )
    say(
        f"Version {build.version} is read now. Version {read.version} is kept: --rollback goes back"
        " to it, --drop-old removes it."
    )


async def roll_back(settings: Settings, *, as_json: bool) -> None:
    """Raises Failed where nothing is kept."""
    async with _tools(settings) as tools:
        read, kept = await active(tools.postgres), await _one(tools.postgres, "kept")
        async with _fed(tools, kept):
            await _catch_up(tools, kept)
            await flip(tools.postgres, read, kept)
    say(f"Version {kept.version} is read again. Version {read.version} is kept.")
    if as_json:
        print_json({"version": kept.version, "keptVersion": read.version})


async def drop_old(settings: Settings, *, as_json: bool) -> None:
    await _drop(settings, "kept", as_json=as_json)


async def abandon(settings: Settings, *, as_json: bool) -> None:
    await _drop(settings, "building", as_json=as_json)


@asynccontextmanager
async def _tools(settings: Settings) -> AsyncIterator[_Tools]:
    configure_logging("ERROR")  # what goes wrong, one sentence says
    settings.require_database_dsn()
    vault = vault_of(settings)
    async with migrated_database(
        settings,
        command_timeout_seconds=STATEMENT_SECONDS_MAX,
        pool_size_max=CONNECTIONS_MAX,
    ) as postgres:
        with progress() as told:
            yield _Tools(postgres, vault, settings.default_currency, told)


async def _begun(tools: _Tools) -> Build:
    """The build that was killed, or a new one: then what was kept goes."""
    build = await unfinished(tools.postgres)
    if build is not None:
        if (head := await tools.log.head()).epoch != build.epoch:
            raise Failed(
                f"Version {build.version} was begun from another log (epoch {build.epoch}, here"
                f" {head.epoch}): remove it with --abandon."
            )
        say(f"Going on with version {build.version}.")
        return build
    for each in await versions(tools.postgres):
        if each.state == "kept":
            await drop(tools.postgres, each.number)
            say(f"Version {each.number}, which was kept, is removed.")
    grant = partial(grant_rights, owners=("projections",))
    build = await begin(tools.postgres, grant)
    say(f"Building version {build.version} up to position {build.target:,}.")
    return build


async def _fill(tools: _Tools, build: Build, processes: int) -> tuple[int, float]:
    """How many events were read in this run, in how many seconds. Raises Failed."""
    before = await filled(tools.postgres, build)
    tools.told.begin("filling: events", before.total)
    tools.told.advance(before.events)
    started, seen = monotonic(), before
    while seen.ranges_left:
        workers = [
            await asyncio.create_subprocess_exec(sys.executable, *WORKER_COMMAND)
            for _ in range(min(processes, seen.ranges_left))
        ]
        try:
            working = {asyncio.create_task(worker.wait()) for worker in workers}
            while working:
                _, working = await asyncio.wait(working, timeout=POLL_SECONDS)
                now = await filled(tools.postgres, build)
                tools.told.advance(now.events - seen.events)
                seen = now
        finally:
            for worker in workers:
                with suppress(ProcessLookupError):
                    worker.terminate()
                await worker.wait()
        if any(worker.returncode for worker in workers):
            raise Failed("A process that filled tables ended before its time; run it again.")
        seen = await filled(tools.postgres, build)  # ranges are left where an orphan has them
    return seen.events - before.events, monotonic() - started


@asynccontextmanager
async def _fed(tools: _Tools, projection: Projection) -> AsyncIterator[None]:
    """While a version that is not read is kept up to date."""
    currency = tools.currency
    runner = log_runner(tools.postgres, tools.log, projection, default_currency=currency)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_feed(tools.postgres, runner, projection))
            try:
                yield
            finally:
                runner.stop()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors


async def _feed(postgres: Postgres, runner: Runner, projection: Projection) -> None:
    try:
        await runner.run()
    except ConfigurationError:
        if await active(postgres) != projection:  # else its feed is the workers' by now
            raise


async def _catch_up(tools: _Tools, projection: Projection) -> None:
    """Up to where the log ends now."""
    checkpoints = Checkpoints(tools.postgres, projection)
    target, reached = (await tools.log.head()).position, await checkpoints.position()
    tools.told.begin("catching up: events", max(0, target - reached))
    while reached < target:
        await asyncio.sleep(POLL_SECONDS)
        now = await checkpoints.position()
        tools.told.advance(now - reached)
        reached = now


async def _one(postgres: Postgres, state: str) -> Projection:
    """The version in this state. Raises Failed."""
    for each in await versions(postgres):
        if each.state == state:
            return Projection("customers", each.number)
    raise Failed("No version is kept." if state == "kept" else "No version is being built.")


async def _drop(settings: Settings, state: str, *, as_json: bool) -> None:
    async with _tools(settings) as tools:
        dropped = await _one(tools.postgres, state)
        await drop(tools.postgres, dropped.version)
    say(f"Version {dropped.version} is removed.")
    if as_json:
        print_json({"droppedVersion": dropped.version})
