"""`customers projections`: keeps the read model and the topic of states up to date."""

from __future__ import annotations

import asyncio
from functools import partial

import structlog

from projections.applier import Applier
from projections.checkpoint import CUSTOMERS, Checkpoints
from projections.derived import Derived
from projections.kafka_feed import KafkaSource
from projections.kept import Kept
from projections.log_feed import LogSource
from projections.runner import Runner
from projections.state_store import STATES
from projections.states import States
from projections.store import Store
from projections.versions import Served
from service.cli.connections import kafka_config
from service.cli.derived import build_derived, derived_named
from service.cli.ground import Ground, applying_spans, ground, work
from service.cli.operations import serve_operations
from service.cli.role import PARTS_SHARE, run_role
from service.cli.watch import broker_check
from service.event_log import EventLog
from service.kafka import KafkaConfig
from service.settings import Settings
from service.telemetry import Check, Health, ProjectionMeter, StatesMeter

PROJECTIONS_PORT = 8082


def run_projections(settings: Settings, name: str, *, is_from_log: bool = False) -> None:
    """`name`: CUSTOMERS, or that of a module. Raises ConfigurationError."""
    derived = None if name == CUSTOMERS.name else derived_named(settings, name)
    run_role(
        partial(_work, settings, derived, is_from_log),
        log_level=settings.log_level,
        shutdown_timeout_seconds=settings.shutdown_timeout_seconds,
    )


def build_runner(ground: Ground, config: KafkaConfig | None) -> Runner:
    """Fed from Kafka; from the log itself where there is none."""
    meter = ProjectionMeter(ground.metrics, CUSTOMERS.name)
    log = EventLog(ground.postgres, ground.vault)
    read = Served(ground.postgres)
    checkpoints = Checkpoints(ground.postgres, read)
    store = Store(ground.postgres, read, default_currency=ground.settings.default_currency)
    return Runner(
        LogSource(ground.postgres, log, checkpoints)
        if config is None
        else KafkaSource(config, log, checkpoints, metrics=meter),
        Applier(store, log, meter),
        log,
        checkpoints,
        metrics=meter,
        spans=applying_spans(ground, config, CUSTOMERS.name),
        shutdown_timeout_seconds=ground.settings.shutdown_timeout_seconds * PARTS_SHARE,
    )


def build_kept(ground: Ground) -> Kept:
    """What was read before a rebuild, until it is dropped."""
    currency = ground.settings.default_currency
    return Kept(ground.postgres, EventLog(ground.postgres, ground.vault), default_currency=currency)


def runner_checks(runner: Runner, name: str = "projections") -> dict[str, Check]:
    async def is_working() -> bool:
        return runner.status.phase == "running"

    return {name: is_working}


def build_states(ground: Ground, config: KafkaConfig, *, is_embedded: bool = False) -> States:
    """`is_embedded`: the broker forgets its topics with everything."""
    return States(
        ground.postgres,
        config,
        creates_topic=is_embedded,
        metrics=StatesMeter(ground.metrics),
        shutdown_timeout_seconds=ground.settings.shutdown_timeout_seconds * PARTS_SHARE,
    )


def states_checks(states: States) -> dict[str, Check]:
    async def is_working() -> bool:
        return states.status.phase == "running"

    return {STATES.name: is_working}


async def _work(
    settings: Settings, derived: Derived | None, is_from_log: bool, stop: asyncio.Event
) -> None:
    config = None
    if not is_from_log:
        config = kafka_config(settings, settings.require_kafka_bootstrap_servers())
    async with (
        ground(settings, "projections", settings.require_database_dsn()) as base,
        asyncio.TaskGroup() as group,
    ):
        runner = (
            build_runner(base, config) if derived is None else build_derived(base, config, derived)
        )
        checks = base.watch.checks | runner_checks(runner)
        if config is not None:
            checks["broker"] = broker_check(config.bootstrap_servers)
        if config is not None and derived is None:
            states = build_states(base, config)
            checks |= states_checks(states)
            group.create_task(work(states, stop))
        group.create_task(base.watch.run(stop))
        if derived is None:
            group.create_task(work(build_kept(base), stop))
        group.create_task(serve_operations(base, Health(checks), PROJECTIONS_PORT, stop))
        name = CUSTOMERS.name if derived is None else derived.table
        structlog.get_logger().info("projections_started", projection=name)
        await work(runner, stop)
