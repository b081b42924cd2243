"""What every role stands on: its settings, the database, the master key, its metrics.

Invariant: built once, by a composition root; parts get it as an argument and build none of it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from service.cli.connections import key_source
from service.cli.tracing import traced
from service.cli.watch import Watch
from service.master_key import MasterKey, require_master_key
from service.postgres import Postgres
from service.settings import Settings
from service.telemetry import BatchSpans, Metrics
from service.vault import Vault

if TYPE_CHECKING:
    from service.kafka import KafkaConfig
    from service.telemetry.traces import Traces

SHARED_METRICS = "PROMETHEUS_MULTIPROC_DIR"  # prometheus-client's own name


@dataclass(frozen=True, slots=True)
class Ground:
    settings: Settings
    postgres: Postgres
    key: MasterKey
    vault: Vault
    metrics: Metrics
    traces: Traces | None  # None: nobody traces
    watch: Watch


@asynccontextmanager
async def ground(settings: Settings, role: str, dsn: str) -> AsyncIterator[Ground]:
    """Needs no database yet. Raises ConfigurationError where there is no master key, or where
    traces are asked for and cannot be had."""
    source = key_source(settings)
    key = require_master_key(source)
    shared = os.environ.get(SHARED_METRICS)
    metrics = Metrics(role, shared_directory=Path(shared) if shared else None)
    async with (
        traced(settings, role) as traces,
        Postgres.connect(
            dsn,
            pool_size_max=settings.database_pool_size_max,
            statement_cache=settings.database_statement_cache,
            application_name=f"customers-{role}",
        ) as postgres,
    ):
        vault = Vault(key, source)
        watch = Watch(postgres, key, source, metrics)
        yield Ground(settings, postgres, key, vault, metrics, traces, watch)


def applying_spans(
    ground: Ground, config: KafkaConfig | None, projection: str
) -> BatchSpans | None:
    """Of the batches of one projection; `config` None: it is fed from the log itself."""
    topic = None if config is None else config.events_topic.name
    return None if ground.traces is None else ground.traces.applying(projection, topic)


class Worker(Protocol):
    """A part that works by itself; `stop` makes `run` finish what is in hand and return."""

    async def run(self) -> None: ...

    def stop(self) -> None: ...


async def work(worker: Worker, stop: asyncio.Event) -> None:
    """Run a worker until stopped; raises what `run` raises."""
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await stop.wait()
        worker.stop()
