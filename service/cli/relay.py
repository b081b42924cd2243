"""`customers relay`: publishes the log to Kafka."""

from __future__ import annotations

import asyncio
from functools import partial

import structlog

from service.cli.connections import kafka_config
from service.cli.ground import Ground, ground, work
from service.cli.operations import serve_operations
from service.cli.role import PARTS_SHARE, run_role
from service.cli.watch import broker_check
from service.event_log import EventLog
from service.kafka import KafkaConfig
from service.relay import AtLeastOnce, Delivery, ExactlyOnce, Lease, Relay
from service.settings import Settings
from service.telemetry import Check, Health, RelayMeter

RELAY_PORT = 8081


def run_relay(settings: Settings) -> None:
    run_role(
        partial(_work, settings),
        log_level=settings.log_level,
        shutdown_timeout_seconds=settings.shutdown_timeout_seconds,
    )


def build_relay(ground: Ground, config: KafkaConfig, *, is_embedded: bool = False) -> Relay:
    """`is_embedded`: the broker has no transactions, and forgets its topics with everything."""
    return Relay(
        ground.postgres,
        EventLog(ground.postgres, ground.vault),
        _delivery(ground, config, is_embedded=is_embedded),
        Lease(ground.postgres, config.events_topic.name),
        metrics=RelayMeter(ground.metrics),
        spans=None if ground.traces is None else ground.traces.publishing(config.events_topic.name),
        shutdown_timeout_seconds=ground.settings.shutdown_timeout_seconds * PARTS_SHARE,
    )


def _delivery(ground: Ground, config: KafkaConfig, *, is_embedded: bool) -> Delivery:
    if ground.settings.delivery(is_embedded=is_embedded) == "exactly-once":
        return ExactlyOnce(ground.postgres, config)
    return AtLeastOnce(ground.postgres, config, creates_topics=is_embedded)


def relay_checks(
    relay: Relay, config: KafkaConfig, *, may_stand_by: bool = True
) -> dict[str, Check]:
    """A relay that stands by is as ready as the one that publishes, unless it is the only one."""
    working = {"standby", "publishing"} if may_stand_by else {"publishing"}

    async def is_working() -> bool:
        return relay.status.phase in working

    return {"broker": broker_check(config.bootstrap_servers), "relay": is_working}


async def _work(settings: Settings, stop: asyncio.Event) -> None:
    config = kafka_config(settings, settings.require_kafka_bootstrap_servers())
    async with (
        ground(settings, "relay", settings.require_database_dsn()) as base,
        asyncio.TaskGroup() as group,
    ):
        relay = build_relay(base, config)
        health = Health({**base.watch.checks, **relay_checks(relay, config)})
        group.create_task(base.watch.run(stop))
        group.create_task(serve_operations(base, health, RELAY_PORT, stop))
        delivery = settings.delivery(is_embedded=False)
        structlog.get_logger().info("relay_started", delivery=delivery)
        await work(relay, stop)
