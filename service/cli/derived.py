"""Projections that are added: which there are, their tables, and what keeps one up to date."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from projections.checkpoint import Checkpoints
from projections.derived import (
    Derived,
    DerivedApplier,
    DerivedSource,
    DerivedStore,
    drop_version,
    load_modules,
    make_tables,
)
from projections.kafka_feed import KafkaSource
from projections.log_feed import LogSource
from projections.runner import Runner
from service.cli.connections import database, migrated_database
from service.cli.ground import Ground, applying_spans
from service.cli.output import Failed, say
from service.cli.role import PARTS_SHARE
from service.errors import ConfigurationError
from service.event_log import EventLog
from service.kafka import KafkaConfig
from service.migrations import MIGRATION_TIMEOUT_SECONDS
from service.settings import Settings
from service.telemetry import ProjectionMeter


def derived_modules(settings: Settings) -> dict[str, Derived]:
    """By name, from PYTHONPATH or the working folder. Raises ConfigurationError."""
    names = [name.strip() for name in settings.projection_modules.split(",") if name.strip()]
    here = str(Path.cwd())
    if names and here not in sys.path:
        sys.path.append(here)  # last: a file here hides nothing that is installed
    return load_modules(names)


def derived_named(settings: Settings, name: str) -> Derived:
    """Raises ConfigurationError where no module makes it."""
    modules = derived_modules(settings)
    if name not in modules:
        known = ", ".join(["customers", *modules])
        raise ConfigurationError(
            f"There is no projection {name}; there are {known}."
            " CUSTOMERS_PROJECTION_MODULES names the modules of others."
        )
    return modules[name]


def build_derived(ground: Ground, config: KafkaConfig | None, derived: Derived) -> Runner:
    """Fed from Kafka; from the log itself where there is none."""
    meter = ProjectionMeter(ground.metrics, derived.table)
    log = EventLog(ground.postgres, ground.vault)
    checkpoints = Checkpoints(ground.postgres, derived.projection)
    store = DerivedStore(ground.postgres, derived)
    applier = DerivedApplier(derived, store, log, meter)
    source = (
        LogSource(ground.postgres, log, checkpoints)
        if config is None
        else KafkaSource(config, log, checkpoints, projection=derived.table, metrics=meter)
    )
    return Runner(
        DerivedSource(source, store, applier),
        applier,
        log,
        checkpoints,
        metrics=meter,
        spans=applying_spans(ground, config, derived.table),
        shutdown_timeout_seconds=ground.settings.shutdown_timeout_seconds * PARTS_SHARE,
    )


async def prepare_derived(settings: Settings) -> Sequence[str]:
    """Make the tables that are missing; their names. Raises ConfigurationError."""
    modules = derived_modules(settings)
    if not modules:
        return []
    async with database(settings, command_timeout_seconds=MIGRATION_TIMEOUT_SECONDS) as postgres:
        return await make_tables(postgres, modules.values())


async def drop(settings: Settings, name: str, version: int) -> None:
    """Raises Failed where there is no such version."""
    async with migrated_database(
        settings, command_timeout_seconds=MIGRATION_TIMEOUT_SECONDS
    ) as postgres:
        if not await drop_version(postgres, name, version):
            raise Failed(f"There is no version {version} of a projection {name} that was added.")
    say(f"Dropped derived.{name}_v{version}.")
