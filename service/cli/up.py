"""`customers up`: the whole system in one process, with servers of its own where none are named.

Invariant: what it prints is true when it is printed: every part works, and the token is valid.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import sys
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import structlog

from service.cli.connections import kafka_config
from service.cli.ground import Ground, ground, work
from service.cli.output import print_json, say
from service.cli.prepare import prepare_database, prepare_topics, renew_up_token
from service.cli.role import run_role
from service.cli.servers import Servers, servers
from service.cli.tracing import check_traces
from service.database_url import mask_url
from service.errors import ConfigurationError
from service.settings import Settings
from service.telemetry import Check, Health, holds

if TYPE_CHECKING:
    from service.kafka import KafkaConfig

READY_TIMEOUT_SECONDS = 20.0
POLL_SECONDS = 0.02
API_PORT = 8080


def run_up(settings: Settings, *, as_json: bool) -> None:
    run_role(
        partial(_up, settings, as_json),
        log_level=settings.log_level,
        shutdown_timeout_seconds=settings.shutdown_timeout_seconds,
        is_for_people=not as_json and sys.stderr.isatty(),
    )


async def _up(settings: Settings, as_json: bool, stop: asyncio.Event) -> None:
    port = API_PORT if settings.http_port is None else settings.http_port
    _refuse_taken_port(settings.http_host, port)
    settings.delivery(is_embedded=settings.kafka_bootstrap_servers is None)  # or refuses it
    check_traces(settings)
    if not as_json:
        say(f"Starting; what is stored is in {settings.data_directory}.")
    async with servers(settings) as found:
        named = settings.model_copy(
            update={
                "database_url": found.database_url,
                "database_tls_ca_file": None,  # worked into the URL
                "kafka_bootstrap_servers": found.bootstrap_servers,
            }
        )
        await prepare_database(named)
        from service.cli.derived import prepare_derived

        await prepare_derived(named)
        async with (
            ground(named, "up", found.database_url) as base,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(found.keep_alive(stop))
            await _run_parts(base, found, port, as_json, stop, group)


async def _run_parts(
    base: Ground,
    found: Servers,
    port: int,
    as_json: bool,
    stop: asyncio.Event,
    group: asyncio.TaskGroup,
) -> None:
    from service.cli.api import serve_api
    from service.cli.derived import build_derived, derived_modules
    from service.cli.intake import build_intake, intake_checks
    from service.cli.projections import (
        build_kept,
        build_runner,
        build_states,
        runner_checks,
        states_checks,
    )
    from service.cli.relay import build_relay, relay_checks

    checks: dict[str, Check] = dict(base.watch.checks)
    config = _kafka(base.settings, found)
    if config is None:
        say("There is no Kafka broker for this platform: nothing is published, no orders come in.")
    else:
        _, faults = await prepare_topics(config)
        for fault in faults:
            say(f"Beware: {fault}.")
        relay = build_relay(base, config, is_embedded=found.has_embedded_broker)
        group.create_task(work(relay, stop))
        checks |= relay_checks(relay, config, may_stand_by=not found.has_embedded_broker)
        intake = build_intake(base, config, is_embedded=found.has_embedded_broker)
        group.create_task(work(intake, stop))
        checks |= intake_checks(intake)
        states = build_states(base, config, is_embedded=found.has_embedded_broker)
        group.create_task(work(states, stop))
        checks |= states_checks(states)
    runner = build_runner(base, config)
    group.create_task(work(runner, stop))
    checks |= runner_checks(runner)
    group.create_task(work(build_kept(base), stop))
    for derived in derived_modules(base.settings).values():
        added = build_derived(base, config, derived)
        group.create_task(work(added, stop))
        checks |= runner_checks(added, f"projection {derived.table}")
    group.create_task(base.watch.run(stop))
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    api = serve_api(base, Health(checks), port, stop, on_ready=listening.set_result)
    group.create_task(api)
    await _announce(base, found, checks, listening, as_json, stop)


def _kafka(settings: Settings, found: Servers) -> KafkaConfig | None:
    if found.bootstrap_servers is None:
        return None
    is_embedded = found.has_embedded_broker
    return kafka_config(settings, found.bootstrap_servers, is_embedded=is_embedded)


async def _announce(
    base: Ground,
    found: Servers,
    checks: Mapping[str, Check],
    listening: asyncio.Future[int],
    as_json: bool,
    stop: asyncio.Event,
) -> None:
    """Once all is ready, say where everything is; not before, and not when it ends already."""
    token = await renew_up_token(base.settings, base.postgres, base.key)
    port = await listening
    await _until_ready(checks, stop)
    if stop.is_set():
        return
    url = _url(base.settings.http_host, port)
    if not as_json:
        say(_welcome(url, token.text, found))
        return
    print_json(
        {
            "url": url,
            "token": token.text,
            "docs": f"{url}/docs",
            "databaseUrl": found.database_url,
            "kafkaBootstrapServers": found.bootstrap_servers,
            "dataDirectory": str(base.settings.data_directory.expanduser().resolve()),
        }
    )


async def _until_ready(checks: Mapping[str, Check], stop: asyncio.Event) -> None:
    """Wait until every part works; at the limit go on without, and say which do not."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + READY_TIMEOUT_SECONDS
    while not stop.is_set():
        answers = await asyncio.gather(*(holds(check) for check in checks.values()))
        missing = [name for name, answer in zip(checks, answers, strict=True) if not answer]
        if not missing:
            return
        if loop.time() >= deadline:
            structlog.get_logger().warning("not_ready", missing=missing)
            return
        await asyncio.sleep(POLL_SECONDS)


def _refuse_taken_port(host: str, port: int) -> None:
    """Before servers are started that would then have to be stopped again."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        reason = error.strerror or "the address cannot be used"
        raise ConfigurationError(
            f"Cannot listen on {host}:{port}: {reason}; CUSTOMERS_HTTP_PORT names another port."
        ) from error


def _url(host: str, port: int) -> str:
    """Where this machine reaches an API that may listen on every address."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def _welcome(url: str, token: str, found: Servers) -> str:
    """What people need to try it; each command works as it stands."""
    email = f"jane.{secrets.token_hex(4)}@example.com"
    kafka = found.bootstrap_servers or "none"
    return f"""
Customers is ready at {url}

  Docs      {url}/docs
  Console   {url}/console  (sign in with the token)
  Token     {token}  (every scope, tenant default; a new one at each start)
  Database  {mask_url(found.database_url)}
  Kafka     {kafka}

Try it:

  curl -s {url}/user -H 'Authorization: Bearer {token}' \\
    -H 'Content-Type: application/json' \\
    -d '{{"email":"{email}","firstName":"Jane","lastName":"Doe","tags":["vip"]}}'

  curl -s '{url}/user?q=jane&sort=createdAt:desc' -H 'Authorization: Bearer {token}'

Ctrl-C ends it; what is stored stays."""
