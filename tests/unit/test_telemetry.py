"""Log lines hold no secret and no driver's words; readiness is cheap and bounded."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from itertools import count

import orjson
import pytest
import structlog

from service.errors import Unavailable
from service.telemetry import (
    ApiMeter,
    Health,
    Metrics,
    Readiness,
    configure_logging,
    log_loop_error,
)
from service.telemetry.logs import describe_error

PERSONAL = "jane@example.com"
TOKEN = "ctk_" + "aB3-_" * 10


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    configure_logging("INFO", stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:], root.level = before


def test_a_line_is_one_json_object(lines: io.StringIO) -> None:
    structlog.get_logger().info("started", port=8080)
    line = orjson.loads(lines.getvalue())
    assert (line["event"], line["level"], line["port"]) == ("started", "info", 8080)
    assert line["time"].endswith("Z")


def fail_as_a_driver_does() -> None:
    try:
        int(PERSONAL)
    except ValueError as error:
        raise Unavailable("database_unavailable", "The database is down.") from error


def test_an_exception_shows_its_places_and_only_our_words(lines: io.StringIO) -> None:
    try:
        fail_as_a_driver_does()
    except Unavailable:
        structlog.get_logger().exception("failed")
    shown = orjson.loads(lines.getvalue())["exception"]
    assert shown[0] == "Unavailable: database_unavailable: The database is down."
    assert "test_telemetry.py" in shown[1]
    assert "ValueError" in shown
    assert PERSONAL not in lines.getvalue()


def test_exceptions_in_a_group_are_shown(lines: io.StringIO) -> None:
    group = ExceptionGroup("several", [Unavailable("overloaded", "Full."), KeyError(PERSONAL)])
    structlog.get_logger().error("failed", exc_info=group)
    shown = orjson.loads(lines.getvalue())["exception"]
    assert [line.strip() for line in shown] == [
        "ExceptionGroup",
        "Unavailable: overloaded: Full.",
        "KeyError",
    ]


def test_libraries_log_through_us_without_the_words_of_exceptions(lines: io.StringIO) -> None:
    logging.getLogger("library").warning("cannot %s: %s", "send", ValueError(PERSONAL))
    logging.getLogger("library").info("not below WARNING")
    line = orjson.loads(lines.getvalue())
    assert (line["logger"], line["event"]) == ("library", "cannot send: ValueError")


def test_libraries_never_log_what_they_carry(lines: io.StringIO) -> None:
    configure_logging("DEBUG", stream=lines)
    logging.getLogger("aiokafka.conn").debug("Request: %s", PERSONAL)
    logging.getLogger("aiokafka.conn").info("Connected")
    assert orjson.loads(lines.getvalue())["event"] == "Connected"


async def test_the_loops_own_errors_are_told_without_their_words(lines: io.StringIO) -> None:
    loop = asyncio.get_running_loop()
    log_loop_error(loop, {"message": "never retrieved", "exception": ValueError(PERSONAL)})
    line = orjson.loads(lines.getvalue())
    assert (line["reason"], line["exception"]) == ("never retrieved", ["ValueError"])


def test_an_error_whose_cause_is_the_group_it_came_in_is_told_once() -> None:
    error = Unavailable("broker_unavailable", "Kafka did not answer.")
    error.__cause__ = ExceptionGroup("broke off", [error, ValueError(PERSONAL)])
    lines = list(describe_error(error))
    assert [line.strip() for line in lines] == [
        "Unavailable: broker_unavailable: Kafka did not answer.",
        "ExceptionGroup",
        "ValueError",
    ]


@pytest.mark.parametrize("secret", [TOKEN, "eyJhbGciOi.eyJzdWIiOi.c2ln"])
def test_what_looks_like_a_token_is_masked(lines: io.StringIO, secret: str) -> None:
    structlog.get_logger().info("said", header=f"Bearer {secret}", url=f"http://h/?t={secret}")
    assert secret not in lines.getvalue()
    assert json.loads(lines.getvalue())["header"] == "Bearer ********"


def test_a_password_in_a_url_is_masked(lines: io.StringIO) -> None:
    structlog.get_logger().info("connecting to postgresql://jo:topsecret@host/d")
    assert "topsecret" not in lines.getvalue()
    assert "********@host/d" in lines.getvalue()


def test_lines_for_people_show_exceptions_below(lines: io.StringIO) -> None:
    configure_logging("INFO", is_for_people=True, stream=lines)
    structlog.get_logger().error("failed", exc_info=Unavailable("overloaded", "Full."), t=TOKEN)
    first, second = lines.getvalue().splitlines()
    assert "failed" in first
    assert second == "Unavailable: overloaded: Full."
    assert TOKEN not in first


def test_metrics_are_the_processs_own_and_have_units() -> None:
    metrics, others = Metrics("api"), Metrics("relay")
    metrics.log_appended_position.set(7)
    duration = ApiMeter(metrics).http_request_duration_seconds
    duration.labels("GET", "/user/{customerId}", "200").observe(0.01)
    text = metrics.render().decode()
    assert "customers_log_appended_position 7.0" in text
    assert 'route="/user/{customerId}",status="200"' in text
    assert "customers_build_info{python=" in text
    assert "customers_log_appended_position 0.0" in others.render().decode()
    assert "http" not in others.render().decode()


async def holds() -> bool:
    return True


async def fails() -> bool:
    raise Unavailable("database_unavailable", "The database cannot be reached.")


async def hangs() -> bool:
    await asyncio.Event().wait()
    return True


async def test_readiness_names_what_is_missing() -> None:
    assert await Health({"database": holds}).readiness() == Readiness(True, False, ())
    health = Health({"database": fails, "migrations": holds}, {"broker": fails})
    assert await health.readiness() == Readiness(False, False, ("database", "broker"))


async def test_without_what_is_optional_it_is_ready_but_degraded() -> None:
    health = Health({"database": holds}, {"broker": fails})
    assert await health.readiness() == Readiness(True, True, ("broker",))


async def test_a_check_that_hangs_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.telemetry.health.CHECK_TIMEOUT_SECONDS", 0.01)
    assert (await Health({"broker": hangs}).readiness()).missing == ("broker",)


async def test_however_many_ask_a_check_runs_once_a_second() -> None:
    now, runs = [0.0], count()

    async def check() -> bool:
        return next(runs) >= 0

    health = Health({"database": check}, clock=lambda: now[0])
    await asyncio.gather(*(health.readiness() for _ in range(50)))
    assert next(runs) == 1
    now[0] = 1.0
    await health.readiness()
    assert next(runs) == 3


async def test_who_shuts_down_is_not_ready() -> None:
    health = Health({"database": holds})
    await health.readiness()
    health.stop()
    health.stop()
    assert await health.readiness() == Readiness(False, False, ("shutting_down",))
