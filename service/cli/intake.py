"""`customers intake`: takes orders in; and what an operator does about those it could not take."""

from __future__ import annotations

import asyncio
from functools import partial

import structlog

from service.cli.connections import kafka_config
from service.cli.ground import Ground, ground, work
from service.cli.operations import serve_operations
from service.cli.output import print_json, say
from service.cli.role import PARTS_SHARE, run_role
from service.cli.watch import broker_check
from service.errors import Fault, Rejected
from service.kafka import KafkaConfig
from service.order_intake import REASONS, Intake, redrive
from service.settings import Settings
from service.telemetry import Check, Health, IntakeMeter

INTAKE_PORT = 8083


def run_intake(settings: Settings) -> None:
    run_role(
        partial(_work, settings),
        log_level=settings.log_level,
        shutdown_timeout_seconds=settings.shutdown_timeout_seconds,
    )


def build_intake(ground: Ground, config: KafkaConfig, *, is_embedded: bool = False) -> Intake:
    """`is_embedded`: the broker forgets its topics with everything."""
    return Intake(
        ground.postgres,
        config,
        metrics=IntakeMeter(ground.metrics),
        spans=None if ground.traces is None else ground.traces.taking_in(config.orders_topic.name),
        creates_topics=is_embedded,
        shutdown_timeout_seconds=ground.settings.shutdown_timeout_seconds * PARTS_SHARE,
    )


def intake_checks(intake: Intake) -> dict[str, Check]:
    async def is_working() -> bool:
        return intake.status.phase == "running"

    return {"intake": is_working}


async def redrive_dead_letters(
    settings: Settings, reason: str | None, key: str | None, *, as_json: bool
) -> None:
    """Put dead letters back into the orders topic; all of them without filters. Raises Rejected."""
    if reason not in {None, *REASONS}:
        raise Rejected([Fault("reason", "unknown_reason", f"reasons are {', '.join(REASONS)}")])
    config = kafka_config(settings, settings.require_kafka_bootstrap_servers())
    done = await redrive(
        config, reason=reason, key=None if key is None else key.encode(errors="surrogateescape")
    )
    say(f"Put back {done.put_back} of {done.read} dead letters.")
    if as_json:
        print_json({"read": done.read, "redriven": done.put_back})


async def _work(settings: Settings, stop: asyncio.Event) -> None:
    config = kafka_config(settings, settings.require_kafka_bootstrap_servers())
    async with (
        ground(settings, "intake", settings.require_database_dsn()) as base,
        asyncio.TaskGroup() as group,
    ):
        intake = build_intake(base, config)
        broker = {"broker": broker_check(config.bootstrap_servers)}
        health = Health({**base.watch.checks, **broker, **intake_checks(intake)})
        group.create_task(base.watch.run(stop))
        group.create_task(serve_operations(base, health, INTAKE_PORT, stop))
        structlog.get_logger().info("intake_started", topic=config.orders_topic.name)
        await work(intake, stop)
