"""Processes that export ranges of the log beside each other.

Invariant: they end with the block, however it ends; and with this process, whose end closes their
standard input.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress

from pydantic import ValidationError

from service.cli.export_worker import CHUNK_SECONDS_MAX, Answer
from service.cli.output import Failed
from service.cli.role import explanation
from service.errors import ConfigurationError
from service.log_export import Chunk, Written

ANSWER_BYTES_MAX = 4 * 1024 * 1024  # of some thousand files
ANSWER_SECONDS_MAX = CHUNK_SECONDS_MAX + 60.0
END_SECONDS = 2.0

_AGAIN = "run the same command again."
WORKER_COMMAND = ("-m", "service", "export-worker")


async def export_chunks(
    chunks: Sequence[Chunk], workers: int, on_written: Callable[[Chunk, Written], None]
) -> None:
    """Raises Failed, ConfigurationError, and what `on_written` raises; then some may be left."""
    left = iter(chunks)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(workers, len(chunks))):
                group.create_task(_work_off(left, on_written))
    except BaseExceptionGroup as errors:
        found = explanation(errors)
        raise found if found is not None else errors.exceptions[0] from errors


async def _work_off(left: Iterator[Chunk], on_written: Callable[[Chunk, Written], None]) -> None:
    """Until none is left."""
    async with _worker() as process:
        for chunk in left:
            on_written(chunk, await _exported(process, chunk))


async def _exported(process: Process, chunk: Chunk) -> Written:
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            line = await _answered(process, chunk)
    except TimeoutError:  # which is an OSError, and none of the folder's
        raise Failed(f"A process of the export did not answer: {_AGAIN}") from None
    try:
        answer = Answer.model_validate_json(line)
    except ValidationError:
        raise Failed(f"A process of the export ended by itself: {_AGAIN}") from None
    if answer.written is not None:
        return answer.written
    sentence = answer.failed or "An export failed."
    raise ConfigurationError(sentence) if answer.is_wrong_use else Failed(sentence)


async def _answered(process: Process, chunk: Chunk) -> bytes:
    """Empty where the process has ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(ConnectionError):
        process.stdin.write(chunk.model_dump_json().encode() + b"\n")
        await process.stdin.drain()
    return await process.stdout.readline()


@asynccontextmanager
async def _worker() -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *WORKER_COMMAND,
        stdin=PIPE,
        stdout=PIPE,
        limit=ANSWER_BYTES_MAX,
        start_new_session=True,  # a Ctrl-C in the terminal is ours
    )
    try:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
