"""`customers status`: how far the log, the relay and the projections are, and what is down.

Invariant: only what is stored is looked at, by the database's and Kafka's word, so it can be asked
from anywhere and says the same. A part is down where events have waited for it for too long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from projections.checkpoint import CUSTOMERS, Checkpoints
from projections.derived import Made, made_tables, table_of
from projections.state_store import STATES
from projections.versions import active
from service.cli.connections import kafka_config, migrated_database
from service.cli.output import Failed, Json, moment, print_json, print_table, say
from service.cli.watch import broker_check
from service.errors import CustomersError, Unavailable
from service.event_log import EventLog, Head
from service.events import Position
from service.postgres import Postgres
from service.relay import published_position, recorded_progress
from service.settings import Settings
from service.telemetry import holds

WAITING_SECONDS_MAX = 10.0  # events that wait longer have nobody who works on them


@dataclass(frozen=True, slots=True)
class Progress:
    """A part that follows the log. `position` None: nobody knows."""

    name: str
    position: int | None
    lag_events: int
    lag_seconds: float
    is_down: bool


async def print_status(settings: Settings, *, as_json: bool) -> None:
    """Raises Failed, once everything is printed, where something is down."""
    down: list[str] = []
    servers = settings.kafka_bootstrap_servers
    if servers is not None and not await holds(broker_check(servers)):
        down.append("broker")
    async with migrated_database(settings) as postgres:
        log = EventLog(postgres)
        head = await log.head()
        relay = await _relay(settings, postgres, log, head, is_broker_down=bool(down))
        shown = await Checkpoints(postgres, await active(postgres)).position()
        projections = [await _progress(CUSTOMERS.name, log, head, shown)]
        written = await Checkpoints(postgres, STATES).position()
        if written or servers is not None:  # without a broker nobody keeps them
            projections.append(await _progress(STATES.name, log, head, written))
        tables = await made_tables(postgres)
        projections += [await _added(postgres, log, head, made) for made in tables]
    parts = [relay, *(replace(each, name=f"projection {each.name}") for each in projections)]
    down += [part.name for part in parts if part.is_down]
    if as_json:
        print_json(_document(head, relay, projections, down))
    else:
        log_row = ["log", str(head.position), "", "", moment(head.time)]
        headers = ["PART", "POSITION", "EVENTS BEHIND", "SECONDS BEHIND", "STATE"]
        print_table(headers, [log_row, *map(_row, parts)])
    if down:
        raise Failed(f"Down: {', '.join(down)}.")


async def _relay(
    settings: Settings, postgres: Postgres, log: EventLog, head: Head, *, is_broker_down: bool
) -> Progress:
    """What Kafka holds, where it is named and answers; else what the relay has recorded."""
    config = kafka_config(settings, settings.kafka_bootstrap_servers or "")
    is_held, position = await recorded_progress(postgres, config)
    is_down = not is_held
    if config.bootstrap_servers and not is_broker_down:
        try:
            position = await published_position(postgres, config)
        except CustomersError as error:
            say(f"Relay: {error.detail if isinstance(error, Unavailable) else error}")
            is_down = True
    part = await _progress("relay", log, head, position)
    return replace(part, is_down=part.is_down or is_down)


async def _progress(name: str, log: EventLog, head: Head, position: int | None) -> Progress:
    if position is None or position >= head.position:
        return Progress(name, position, 0, 0.0, is_down=False)
    since = await log.time_after(Position(position)) or head.time
    seconds = max(0.0, (datetime.now(UTC) - since).total_seconds())
    is_down = seconds > WAITING_SECONDS_MAX
    return Progress(name, position, head.position - position, seconds, is_down)


async def _added(postgres: Postgres, log: EventLog, head: Head, made: Made) -> Progress:
    """One that is built from the whole log is far behind for a while, and not down."""
    position = await Checkpoints(postgres, made.projection).position()
    part = await _progress(table_of(made.projection), log, head, position)
    resting = (datetime.now(UTC) - made.moved_at).total_seconds()
    return replace(part, is_down=part.is_down and resting > WAITING_SECONDS_MAX)


def _row(part: Progress) -> list[str]:
    position = "unknown" if part.position is None else str(part.position)
    state = "down" if part.is_down else "ok"
    return [part.name, position, str(part.lag_events), f"{part.lag_seconds:.1f}", state]


def _document(
    head: Head, relay: Progress, projections: Sequence[Progress], down: list[str]
) -> Json:
    return {
        "down": [*down],
        "log": {"epoch": head.epoch, "position": head.position, "time": moment(head.time)},
        "relay": _fields(relay),
        "projections": {each.name: _fields(each) for each in projections},
    }


def _fields(part: Progress) -> dict[str, Json]:
    return {
        "position": part.position,
        "lagEvents": part.lag_events,
        "lagSeconds": round(part.lag_seconds, 3),
        "isDown": part.is_down,
    }
