"""How a process of ours lives and ends: its loop, its signals, its exit code.

Invariants: SIGTERM or SIGINT ends it with exit code 0 within the shutdown limit, whatever hangs; a
second Ctrl-C ends it at once. What cannot be mended ends it with another code and one sentence, for
a supervisor to start it anew. Works as process 1 of a container, whose signals nobody else handles.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import TypeAlias

import structlog

from service.cli.output import Failed
from service.errors import ConfigurationError, CustomersError
from service.telemetry import configure_logging, log_loop_error

PARTS_SHARE = 0.6  # of the shutdown limit: for parts to finish what is in hand
FLUSH_SHARE = 0.1  # then for spans that are not sent yet
CANCEL_SHARE = 0.8  # then whatever still runs is cancelled
EXIT_SHARE = 0.97  # then the process ends as it is
SIGINT_EXIT_CODE = 130
# Between two looks for cyclic garbage. A page of events makes more than Python's 700, and nearly
# all are freed by reference counts: the looks took a sixth of a serving process.
GC_ALLOCATIONS = 100_000
GC_GENERATIONS = (50, 1_000)  # younger looks between looks at the older generations

Work: TypeAlias = Callable[[asyncio.Event], Coroutine[None, None, None]]
"""Works until the event is set, then finishes what is in hand and returns."""


def run_role(
    work: Work, *, log_level: str, shutdown_timeout_seconds: float, is_for_people: bool = False
) -> None:
    """Run `work` on a loop of its own until a signal stops it or it fails.

    Raises the one error of ours that explains a failure; Failed for any other, once it is logged.
    """
    configure_logging(log_level, is_for_people=is_for_people)
    gc.freeze()  # what is imported stays, and is never looked at again
    gc.set_threshold(GC_ALLOCATIONS, *GC_GENERATIONS)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_run(work, shutdown_timeout_seconds))


async def _run(work: Work, shutdown_timeout_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(log_loop_error)
    stop = asyncio.Event()
    task = loop.create_task(work(stop))

    def on_signal(number: signal.Signals) -> None:
        if not stop.is_set():
            structlog.get_logger().info("stopping", signal=number.name)
            stop.set()
        elif number == signal.SIGINT:
            _exit(SIGINT_EXIT_CODE)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    limiting = loop.create_task(_limit(stop, task, shutdown_timeout_seconds))
    await asyncio.wait([task])
    limiting.cancel()
    _conclude(task, was_stopped=stop.is_set())


async def _limit(stop: asyncio.Event, task: asyncio.Task[None], timeout_seconds: float) -> None:
    """Once a stop was asked for: cancel what does not end, then end whatever that leads to."""
    await stop.wait()
    asyncio.get_running_loop().call_later(timeout_seconds * EXIT_SHARE, _exit, 0)
    await asyncio.sleep(timeout_seconds * CANCEL_SHARE)
    task.cancel()


def _conclude(task: asyncio.Task[None], *, was_stopped: bool) -> None:
    log = structlog.get_logger()
    if task.cancelled():
        log.warning("stopped", cut_short=True)
        return
    error = task.exception()
    if error is None:
        log.info("stopped")
        return
    ours = explanation(error)
    if ours is not None and not was_stopped:
        raise ours
    log.error("failed", exc_info=error)
    if not was_stopped:
        raise Failed("Ended by an error that nobody expected; the log line above has it.")


def explanation(error: BaseException) -> CustomersError | None:
    """The error of ours that explains a failure; a wrong setting before anything else."""
    found = [each for each in _leaves(error) if isinstance(each, CustomersError)]
    wrong = [each for each in found if isinstance(each, ConfigurationError)]
    return next(iter([*wrong, *found]), None)


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for inner in error.exceptions for leaf in _leaves(inner)]


def _exit(code: int) -> None:
    """End now. Embedded servers notice that we are gone, and a log line is never half-written."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop where there is one."""
    try:
        from uvloop import new_event_loop
    except ImportError:  # not made for this platform
        return asyncio.new_event_loop
    return new_event_loop
