"""`customers status`: how far everything that follows the log is, what was put aside, what is down.

Invariant: only what is stored is looked at, by the database's and Kafka's word, so it can be asked
from anywhere and says the same. A part is stalled where events have waited for it for too long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.cli.connections import kafka_config, migrated_database
from service.cli.output import Failed, Json, moment, print_json, print_table, say
from service.cli.overview import look, why
from service.cli.watch import broker_check
from service.errors import CustomersError
from service.kafka import KafkaConfig
from service.postgres import Postgres
from service.relay import published_position
from service.settings import Settings
from service.standing import Letters, Orders, Overview, Parked, Part
from service.telemetry import holds

HEADERS = ["PART", "POSITION", "BEHIND", "SECONDS BEHIND", "STATE"]


async def print_status(settings: Settings, *, as_json: bool) -> None:
    """Raises Failed, once everything is printed, where something is down."""
    config = kafka_config(settings, settings.kafka_bootstrap_servers or "")
    down: list[str] = []
    if config.bootstrap_servers and not await holds(broker_check(config.bootstrap_servers)):
        down.append("broker")
    async with migrated_database(settings) as postgres:
        published, is_refused = None, False
        if config.bootstrap_servers and not down:
            published, is_refused = await _published(postgres, config)
        seen = await look(postgres, config, published=published)
    if seen.kafka is not None and seen.kafka.problem and not down:
        say(f"Orders: {seen.kafka.problem}")
    publishes = seen.standing.is_publishing and not is_refused and "relay" not in seen.stalled
    if seen.has_relay and not publishes:
        down.append("relay")
    down += [name for name in seen.stalled if name != "relay"]
    if as_json:
        print_json(_document(seen, down))
    else:
        print_table(HEADERS, _rows(seen, down))
    if down:
        raise Failed(f"Down: {', '.join(down)}.")


async def _published(postgres: Postgres, config: KafkaConfig) -> tuple[int | None, bool]:
    """What Kafka holds of the log; and whether it cannot be read, or would stop a relay."""
    try:
        return await published_position(postgres, config), False
    except CustomersError as error:
        say(f"Relay: {why(error)}")
        return None, True


def _rows(seen: Overview, down: Sequence[str]) -> list[list[str]]:
    head = seen.standing.head
    rows = [["log", str(head.position), "", "", moment(head.time)]]
    for part in seen.parts:
        position = "unknown" if part.position is None else str(part.position)
        rows.append([part.name, position, *_lag(part.lag_events, part.lag_seconds)])
    if seen.kafka is not None and seen.kafka.orders is not None:
        orders = seen.kafka.orders
        rows.append(["intake", "", *_lag(orders.lag_messages, orders.lag_seconds)])
    for row in rows[1:]:
        row.append(_state(row[0], seen.stalled, down))
    rows.append(_parked_row(seen))
    if seen.kafka is not None and seen.kafka.letters is not None:
        rows.append(_letters_row(seen.kafka.letters))
    return rows


def _lag(count: int, seconds: float) -> tuple[str, str]:
    return str(count), f"{seconds:.1f}"


def _state(name: str, stalled: Sequence[str], down: Sequence[str]) -> str:
    return "stalled" if name in stalled else "down" if name in down else "ok"


def _parked_row(seen: Overview) -> list[str]:
    reasons = {each.reason: each.customers for each in seen.standing.parked}
    return [
        "parked customers",
        "",
        *_lag(sum(reasons.values()), _parked_seconds(seen)),
        _told(reasons),
    ]


def _letters_row(letters: Letters) -> list[str]:
    return [
        "dead letters",
        "",
        *_lag(letters.count, letters.oldest_seconds),
        _told(letters.by_reason),
    ]


def _told(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in reasons.items()) or "none"


def _parked_seconds(seen: Overview) -> float:
    """For how long the first of them has been."""
    since = min((each.since for each in seen.standing.parked), default=seen.standing.now)
    return max(0.0, (seen.standing.now - since).total_seconds())


def _document(seen: Overview, down: Sequence[str]) -> Json:
    head, kafka = seen.standing.head, seen.kafka
    orders = kafka.orders if kafka is not None else None
    letters = kafka.letters if kafka is not None else None
    return {
        "down": [*down],
        "stalled": [*seen.stalled],
        "log": {"epoch": head.epoch, "position": head.position, "time": moment(head.time)},
        "relay": _part(seen.standing.relay, seen, down) if seen.has_relay else None,
        "projections": {
            part.name.removeprefix("projection "): _part(part, seen, down)
            for part in seen.standing.projections
        },
        "intake": None if orders is None else _intake(orders),
        "parked": _parked(seen.standing.parked, _parked_seconds(seen)),
        "deadLetters": None if letters is None else _letters(letters),
    }


def _part(part: Part, seen: Overview, down: Sequence[str]) -> dict[str, Json]:
    return {
        "position": part.position,
        "lagEvents": part.lag_events,
        "lagSeconds": round(part.lag_seconds, 3),
        "isDown": part.name in down,
        "isStalled": part.name in seen.stalled,
        "partitions": {str(number): position for number, position in part.partitions.items()},
    }


def _intake(orders: Orders) -> dict[str, Json]:
    return {
        "lagMessages": orders.lag_messages,
        "lagSeconds": round(orders.lag_seconds, 3),
        "isStalled": orders.is_stalled,
    }


def _parked(parked: Sequence[Parked], oldest_seconds: float) -> dict[str, Json]:
    return {
        "count": sum(each.customers for each in parked),
        "byReason": {each.reason: each.customers for each in parked},
        "oldestSeconds": round(oldest_seconds, 3),
    }


def _letters(letters: Letters) -> dict[str, Json]:
    return {
        "count": letters.count,
        "isMore": letters.is_more,
        "byReason": {**letters.by_reason},
        "oldestSeconds": round(letters.oldest_seconds, 3),
    }
