"""One of the processes that `export` starts: a range of the log after the other, as it is told.

Invariant: it takes lines of JSON from its standard input and answers each with one, and it ends
when its input does, so it never outlives for long whoever started it.
"""

from __future__ import annotations

import asyncio
import gc
import sys

from pydantic import BaseModel

from service.cli.connections import database, vault_of
from service.cli.role import GC_ALLOCATIONS, GC_GENERATIONS, loop_factory
from service.errors import ConfigurationError, CustomersError, Unavailable
from service.log_export import Chunk, Written, export_chunk
from service.postgres import Postgres
from service.settings import Settings
from service.telemetry import configure_logging
from service.vault import Vault

CHUNK_SECONDS_MAX = 600.0  # of one statement, as fast as its file is written


class Answer(BaseModel):
    """One of both. `failed` is a sentence for people."""

    written: Written | None = None
    failed: str | None = None
    is_wrong_use: bool = False


def run_export_worker(settings: Settings) -> None:
    configure_logging("ERROR")
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, *GC_GENERATIONS)  # rows are many and short-lived
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_work(settings))


async def _work(settings: Settings) -> None:
    async with database(settings, command_timeout_seconds=CHUNK_SECONDS_MAX) as postgres:
        vault: Vault | None = None
        while line := await asyncio.to_thread(sys.stdin.buffer.readline):
            chunk = Chunk.model_validate_json(line)
            if chunk.personal_data and vault is None:
                vault = vault_of(settings)
            answer = await _answer(postgres, vault, chunk)
            print(answer.model_dump_json(), flush=True)


async def _answer(postgres: Postgres, vault: Vault | None, chunk: Chunk) -> Answer:
    try:
        return Answer(written=await export_chunk(postgres, vault, chunk))
    except OSError as error:
        return Answer(failed=f"{chunk.folder} cannot be written: {error.strerror}.")
    except Unavailable as error:
        return Answer(failed=error.detail)
    except CustomersError as error:
        said = str(error).rstrip(".")
        return Answer(failed=f"{said}.", is_wrong_use=isinstance(error, ConfigurationError))
