"""Log lines: one JSON object each on stderr, or readable ones for a person at a terminal.

Invariant: nothing here shows a person or a secret. An exception is shown by its type and the places
it went through; its words only where they are ours or the operating system's, since a driver's may
quote values. Whatever looks like a token is masked in the finished line.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from itertools import islice
from typing import TextIO, TypeAlias, cast

import orjson
import structlog
from typing_extensions import override

from service.errors import CustomersError

ERRORS_SHOWN_MAX = 5
FRAMES_SHOWN_MAX = 20

_SECRET = re.compile(r"ctk_[\w-]{20,}|eyJ[\w-]+\.[\w-]+\.[\w-]*|(?<=://)[^\s/@\"]+:[^\s/@\"]+(?=@)")
_MASK = "********"

_Line: TypeAlias = MutableMapping[str, object]


def configure_logging(
    level: str, *, is_for_people: bool = False, stream: TextIO = sys.stderr
) -> None:
    """Send every log line of this process to `stream`: as JSON, or readable in a terminal.

    structlog's own loggers and the standard library's end in the same place. For composition roots.
    """
    number = logging.getLevelNamesMapping()[level]
    renderer = _readable_renderer() if is_for_people else _json_line
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _show_exception,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    # Never DEBUG: there, the Kafka client prints whole records, with the people in them.
    library_level = logging.INFO if number == logging.DEBUG else max(number, logging.WARNING)
    logging.basicConfig(handlers=[_LibraryHandler()], level=library_level, force=True)


def log_loop_error(_: asyncio.AbstractEventLoop, context: Mapping[str, object]) -> None:
    """For `loop.set_exception_handler`: the default one prints the words of any exception."""
    error = context.get("exception")
    shown = error if isinstance(error, BaseException) else None
    structlog.get_logger().error("loop_error", reason=context.get("message"), exc_info=shown)


def describe_error(error: BaseException) -> Iterator[str]:
    """Lines about an error and what led to it: the outermost first, then the places it passed."""
    return _describe(error, set())


def _describe(error: BaseException, told: set[int]) -> Iterator[str]:
    """`told`: ids of errors that were shown: a group may be the cause of one of its members."""
    shown: BaseException | None = error
    for _ in range(ERRORS_SHOWN_MAX):
        if shown is None or id(shown) in told:
            return
        told.add(id(shown))
        yield _name_error(shown)
        frames = list(traceback.walk_tb(shown.__traceback__))
        for frame, line in reversed(frames[-FRAMES_SHOWN_MAX:]):
            yield f"  at {frame.f_code.co_filename}:{line} {frame.f_code.co_name}"
        if isinstance(shown, BaseExceptionGroup):
            for inner in islice(shown.exceptions, ERRORS_SHOWN_MAX):
                yield from (f"  {line}" for line in _describe(inner, told))
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)


def _name_error(error: BaseException) -> str:
    name = type(error).__name__
    if isinstance(error, CustomersError):
        return f"{name}: {error}"
    if isinstance(error, OSError) and error.errno is not None:
        return f"{name}: {os.strerror(error.errno)}"
    return name


class _LibraryHandler(logging.Handler):
    """Passes on what libraries log."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger()
        logger.log(
            record.levelno, harmless_message(record), logger=record.name, exc_info=record.exc_info
        )


def harmless_message(record: logging.LogRecord) -> str:
    """What a library says, without the words of exceptions in its arguments."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            _name_error(value) if isinstance(value, BaseException) else value
            for value in record.args
        )
    return record.getMessage()


def _show_exception(_: object, __: str, line: _Line) -> _Line:
    found = line.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        line["exception"] = list(describe_error(error))
    return line


def _json_line(_: object, __: str, line: _Line) -> str:
    return _mask_secrets(orjson.dumps(line, default=repr).decode())


def _readable_renderer() -> Callable[[object, str, _Line], str]:
    console = structlog.dev.ConsoleRenderer(timestamp_key="time")

    def render(logger: object, name: str, line: _Line) -> str:
        exception = cast("list[str] | None", line.pop("exception", None))
        text = str(console(logger, name, line))
        return _mask_secrets("\n".join([text, *exception] if exception else [text]))

    return render


def _mask_secrets(text: str) -> str:
    return _SECRET.sub(_MASK, text)
