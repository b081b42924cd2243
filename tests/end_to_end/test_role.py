"""How a role ends: in time, with the right code, whatever its parts do."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

ROLE = """
import asyncio, sys
from service.cli.output import Failed
from service.cli.role import run_role
from service.errors import ConfigurationError, CustomersError, Unavailable

async def gracefully(stop):
    print("working", flush=True)
    await stop.wait()
    print("finished", flush=True)

async def ignoring_the_stop(stop):
    print("working", flush=True)
    await asyncio.Event().wait()

async def ignoring_everything(stop):
    print("working", flush=True)
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

async def fail(error):
    raise error

async def with_errors(stop):
    async with asyncio.TaskGroup() as group:
        group.create_task(fail(Unavailable("overloaded", "Full.")))
        group.create_task(fail(ConfigurationError("The key is wrong.")))

async def with_a_bug(stop):
    int("jane@example.com")

try:
    run_role(globals()[sys.argv[1]], log_level="INFO", shutdown_timeout_seconds=1.0)
except CustomersError as error:
    print(f"{type(error).__name__}: {error}")
    sys.exit(3)
"""


@contextmanager
def role(work: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", ROLE, work],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        if process.poll() is None:
            process.kill()


def end(process: subprocess.Popen[str], *signals: signal.Signals) -> tuple[int, float, str]:
    """Its exit code, the seconds until it ended, and what else it printed on stdout."""
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    started = time.monotonic()
    for number in signals:
        process.send_signal(number)
    rest = process.stdout.read()
    return process.wait(10), time.monotonic() - started, rest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0(number: signal.Signals) -> None:
    with role("gracefully") as process:
        code, _, rest = end(process, number)
    assert (code, rest) == (0, "finished\n")


@pytest.mark.parametrize("work", ["ignoring_the_stop", "ignoring_everything"])
def test_it_ends_in_time_whatever_hangs(work: str) -> None:
    with role(work) as process:
        code, seconds, _ = end(process, signal.SIGTERM)
    assert code == 0
    assert 0.7 < seconds < 1.5


def test_a_second_ctrl_c_ends_it_at_once() -> None:
    with role("ignoring_everything") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert "stopping" in process.stderr.readline()
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    assert time.monotonic() - started < 0.5


def test_what_cannot_be_mended_is_one_error_a_wrong_setting_first() -> None:
    with role("with_errors") as process:
        said, logged = process.communicate(timeout=10)
    assert (process.returncode, said) == (3, "ConfigurationError: The key is wrong.\n")
    assert logged == ""


def test_a_bug_is_logged_with_its_place_and_without_its_words() -> None:
    with role("with_a_bug") as process:
        said, logged = process.communicate(timeout=10)
    assert (process.returncode, said[:7]) == (3, "Failed:")
    assert "with_a_bug" in logged
    assert "ValueError" in logged
    assert "jane" not in logged
