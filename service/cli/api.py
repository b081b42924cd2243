"""`customers api`: the HTTP API, in one process or in several behind one port.

Invariant: it needs the database and nothing else; without Kafka it is degraded and goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial

import structlog

from service.appender import Appender
from service.cli.connections import kafka_config
from service.cli.ground import Ground, ground
from service.cli.issuer import json_web_tokens
from service.cli.role import PARTS_SHARE, run_role
from service.cli.tracing import check_traces
from service.cli.watch import broker_check
from service.command_handler import CommandHandler
from service.event_log import EventLog
from service.http.app import App, Dependencies, build_app
from service.http.console import ConsoleParts
from service.http.operations import operations_pages
from service.http.pages import documentation_pages
from service.http.rate_limit import RateLimit
from service.http.request_metrics import RequestMetrics
from service.http.server import allow_files, serve
from service.idempotency_expiry import IdempotencyExpiry
from service.queries import Feed, Queries
from service.settings import Settings
from service.telemetry import ApiMeter, Check, Health
from service.token_keys import TokenKeys
from service.tokens import Authenticator

API_PORT = 8080


def run_api(settings: Settings, workers: int | None) -> None:
    check_traces(settings)  # once, and not by each worker
    count = workers or settings.http_workers
    port = API_PORT if settings.http_port is None else settings.http_port
    if count > 1:
        from service.cli.workers import run_workers

        seconds = settings.shutdown_timeout_seconds
        _run(partial(run_workers, settings.http_host, port, count, seconds), settings)
    else:
        _run(partial(_work, settings, port), settings)


def run_worker(settings: Settings) -> None:
    """One of several: shares the port that its parent holds, and ends with it."""
    from service.cli.workers import stop_with_parent

    async def work(stop: asyncio.Event) -> None:
        stop_with_parent(stop)
        await _work(settings, settings.http_port or 0, stop, reuse_port=True)

    _run(work, settings)


def api_health(ground: Ground) -> Health:
    """Ready with the database; degraded without Kafka, where one is named."""
    servers = ground.settings.kafka_bootstrap_servers
    broker: dict[str, Check] = {} if servers is None else {"broker": broker_check(servers)}
    return Health(ground.watch.checks, broker)


async def serve_api(
    ground: Ground,
    health: Health,
    port: int,
    stop: asyncio.Event,
    *,
    reuse_port: bool = False,
    on_ready: Callable[[int], None] = lambda _: None,
) -> None:
    """Answer until stopped; then what is in flight, and only then end what writes it.

    `on_ready` is told the port once connections are taken.
    """
    allow_files()
    meter = ApiMeter(ground.metrics)
    appender = Appender(
        ground.postgres,
        ground.vault,
        meter.append_batch_commands.observe,
        None if ground.traces is None else ground.traces.appends(),
    )
    log = EventLog(ground.postgres, ground.vault)
    feed = Feed(ground.postgres, log, pool_size_max=ground.settings.database_pool_size_max)
    async with asyncio.TaskGroup() as group:
        group.create_task(appender.run())
        group.create_task(IdempotencyExpiry(ground.postgres).run(stop))
        group.create_task(feed.run(stop))
        try:
            # Of several processes behind one port, whoever listens is sent requests at once.
            await ground.watch.looked()
            async with serve(
                _app(ground, health, appender, meter, log, feed),
                ground.settings.http_host,
                port,
                shutdown_timeout_seconds=ground.settings.shutdown_timeout_seconds * PARTS_SHARE,
                reuse_port=reuse_port,
            ) as bound_port:
                on_ready(bound_port)
                await stop.wait()
                health.stop()
        finally:
            appender.stop()


def _app(
    ground: Ground,
    health: Health,
    appender: Appender,
    meter: ApiMeter,
    log: EventLog,
    feed: Feed,
) -> App:
    settings = ground.settings
    per_second = settings.rate_limit_per_second
    dependencies = Dependencies(
        commands=CommandHandler(log, appender),
        queries=Queries(
            ground.postgres,
            log,
            ground.key.subkey("cursor"),
            pool_size_max=settings.database_pool_size_max,
        ),
        feed=feed,
        authenticator=Authenticator(
            ground.postgres, TokenKeys(ground.key), jwt=json_web_tokens(settings)
        ),
        epoch=ground.watch.epoch,
        digest_key=ground.key.subkey("idempotency"),
        rate_limit=RateLimit(per_second) if per_second > 0 else None,
        spans=None if ground.traces is None else ground.traces.requests(),
    )
    pages = {
        **operations_pages(health.readiness, ground.metrics.render),
        **documentation_pages(),
    }
    observer = RequestMetrics(meter.http_request_duration_seconds)
    return build_app(observer, pages, dependencies, console=_console(ground))


def _console(ground: Ground) -> ConsoleParts:
    from service.cli.overview import KeptLook

    config = kafka_config(ground.settings, ground.settings.kafka_bootstrap_servers or "")
    return ConsoleParts(KeptLook(ground.postgres, config), ground.key.subkey("console session"))


async def _work(
    settings: Settings, port: int, stop: asyncio.Event, *, reuse_port: bool = False
) -> None:
    def on_ready(bound_port: int) -> None:
        log = structlog.get_logger()
        log.info("api_started", host=settings.http_host, port=bound_port)

    async with (
        ground(settings, "api", settings.require_database_dsn()) as base,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(base.watch.run(stop))
        health = api_health(base)
        await serve_api(base, health, port, stop, reuse_port=reuse_port, on_ready=on_ready)


def _run(work: Callable[[asyncio.Event], Coroutine[None, None, None]], settings: Settings) -> None:
    run_role(
        work,
        log_level=settings.log_level,
        shutdown_timeout_seconds=settings.shutdown_timeout_seconds,
    )
