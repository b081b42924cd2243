"""`customers replay`: a part of the log once more, to a topic of its own."""

from __future__ import annotations

from time import monotonic

from service.cli.connections import kafka_config, key_source, migrated_database
from service.cli.output import Failed, print_json, say
from service.cli.progress import progress
from service.errors import ConfigurationError, Unavailable
from service.event_log import EventLog
from service.master_key import check_master_key, require_master_key
from service.relay import Asked, replay
from service.settings import Settings
from service.telemetry import configure_logging
from service.vault import Vault

PAGE_SECONDS_MAX = 60.0  # of one statement, which reads beside others


async def replay_log(
    settings: Settings,
    topic: str,
    first: int,
    last: int | None,
    partitions: int | None,
    *,
    as_json: bool,
) -> None:
    """Raises Failed where it broke off and can be gone on with; ConfigurationError, Corrupt."""
    configure_logging("ERROR")
    config = kafka_config(settings, settings.require_kafka_bootstrap_servers())
    source = key_source(settings)
    key = require_master_key(source)
    async with migrated_database(settings, command_timeout_seconds=PAGE_SECONDS_MAX) as postgres:
        await check_master_key(postgres, key, source)
        log, started = EventLog(postgres, Vault(key, source)), monotonic()
        head = await log.head()
        end = head.position if last is None else last
        if end > head.position or first > end:
            raise ConfigurationError(
                f"There are no positions {first:,} to {end:,}: the log ends at {head.position:,}."
            )
        await log.require(first - 1)
        try:
            with progress() as told:
                done = await replay(
                    log,
                    config,
                    Asked(topic, first, end, partitions),
                    is_exactly_once=settings.delivery(is_embedded=False) == "exactly-once",
                    on_begun=lambda left: told.begin("replay", max(0, left)),
                    on_sent=told.advance,
                )
        except Unavailable as error:
            raise Failed(f"{error.detail} Run the same command again: it goes on.") from error
    seconds = monotonic() - started
    events = done.last - first + 1 - done.already
    say(
        f"Topic {topic} holds positions {first:,} to {done.last:,} in {done.partitions} partitions:"
        f" {events:,} published in {seconds:.1f} s, {events / max(seconds, 1e-9):,.0f} a second."
    )
    if as_json:
        print_json(
            {
                "topic": topic,
                "partitions": done.partitions,
                "epoch": head.epoch,
                "from": first,
                "to": done.last,
                "published": events,
                "alreadyThere": done.already,
                "seconds": round(seconds, 3),
            }
        )
