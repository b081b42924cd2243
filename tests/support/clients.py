"""What the tests of the clients in `clients/` share: a program is run, and the API counts."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Answered:
    """Which routes have answered a success, as the API counts its own answers."""

    routes: set[tuple[str, str]] = field(default_factory=set)  # method and path template

    def observe_request(self, method: str, route: str, status: int, _: float) -> None:
        if status < 300:
            self.routes.add((method, route))


async def said_by(
    *command: str, folder: Path, environment: Mapping[str, str], timeout_seconds: float
) -> str:
    """What a program says; the test fails where the program does. What it began ends with it."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment, stdout=PIPE, stderr=STDOUT, start_new_session=True
    )
    try:
        async with asyncio.timeout(timeout_seconds):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    said = output.decode(errors="replace")
    assert process.returncode == 0, f"{' '.join(command)}:\n{said}"
    return said
