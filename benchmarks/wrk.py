"""Load by wrk: closed loop, 64 connections, one thread, so that the server gets what is left.

Invariant: a figure is only given where every single answer was a success; where refusals are part
of what is measured, only successes count.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 64
THREADS = 1
SCRIPTS = Path(__file__).with_name("lua")
GRACE_SECONDS = 30.0
HINT = "wrk is not on PATH: install it with `apt-get install wrk`."


class LoadFailed(Exception):
    """The load was not what was meant: the figure would be about something else."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk saw."""

    requests: int  # that succeeded
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int = 0

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def is_installed() -> bool:
    return shutil.which("wrk") is not None


async def run_wrk(
    url: str,
    script: str,
    arguments: Sequence[str],
    *,
    token: str,
    seconds: float,
    connections: int = CONNECTIONS,
    may_refuse: bool = False,
) -> Load:
    """Load `url` with one of the scripts. Raises LoadFailed."""
    command = [
        "wrk",
        "-t",
        str(THREADS),
        "-c",
        str(connections),
        "-d",
        f"{max(1, round(seconds))}s",
    ]
    command += ["-H", f"Authorization: Bearer {token}", "--timeout", "10s"]
    command += ["-s", str(SCRIPTS / script), url, "--", *arguments]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "BENCHMARK_SUMMARY": str(SCRIPTS / "summary.lua")},
    )
    try:
        async with asyncio.timeout(seconds + GRACE_SECONDS):
            said, complaint = await process.communicate()
    except BaseException:
        process.kill()
        raise
    if process.returncode != 0:
        raise LoadFailed(f"wrk failed: {complaint.decode(errors='replace').strip()}")
    return parse_summary(said.decode(), may_refuse=may_refuse)


def write_paths(name: str, paths: Sequence[str], folder: Path) -> Path:
    """A file for a script to draw paths from."""
    file = folder / f"{name}.paths"
    file.write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")
    return file


def parse_summary(said: str, *, may_refuse: bool = False) -> Load:
    """What summary.lua printed last. Raises LoadFailed where an answer was no success, or a
    connection broke."""
    lines = [line for line in said.splitlines() if line.startswith("{")]
    if not lines:
        raise LoadFailed(f"wrk gave no summary: {said}")
    found = json.loads(lines[-1])
    is_refused = found["refused"] and not may_refuse
    if is_refused or found["broken"] or not found["requests"]:
        raise LoadFailed(
            f"of {found['requests']} answers {found['refused']} were refusals,"
            f" and {found['broken']} connections broke"
        )
    return Load(
        requests=found["requests"] - found["refused"],
        seconds=found["duration_us"] / 1e6,
        p50_ms=found["p50_us"] / 1e3,
        p99_ms=found["p99_us"] / 1e3,
        refused=found["refused"],
    )
