"""How a process of the chaos is led: a line of words on stdin, a line of JSON back on stdout.

Invariant: a process that nobody leads any more ends: the end of stdin means `stop`.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue

import orjson

ROOT = Path(__file__).parents[2]
ANSWER_TIMEOUT_SECONDS = 240.0
END_TIMEOUT_SECONDS = 10.0
LINE_BYTES_MAX = 1 << 20
STOP = "stop"


class Told:
    """In the process that is led: what it was told, read in a thread of its own."""

    def __init__(self) -> None:
        self.is_stopping = threading.Event()
        self._words: SimpleQueue[str] = SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin:
            if line.strip() == STOP:
                break
            self._words.put(line.strip())
        self.is_stopping.set()

    def next(self) -> str:
        """The next thing that was told; empty when there is none yet."""
        try:
            return self._words.get_nowait()
        except Empty:
            return ""


def say(**words: object) -> None:
    sys.stdout.write(orjson.dumps(words).decode() + "\n")
    sys.stdout.flush()


class Led:
    """In the process that leads: one that was started."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self._process = process

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    def tell(self, words: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(words.encode() + b"\n")

    async def answer(self) -> Mapping[str, object]:
        """The next line; what it said is lost where it ended without one."""
        assert self._process.stdout is not None
        async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
            line = await self._process.stdout.readline()
        assert line, f"{self.name} ended without a word"
        answer: Mapping[str, object] = orjson.loads(line)
        return answer

    async def end(self) -> None:
        """End it, by force where it does not go by itself."""
        if not self.is_running:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(END_TIMEOUT_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


async def lead(module: str, name: str, config: Mapping[str, object]) -> Led:
    """Start a module as a process; its only argument is its configuration as JSON."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, orjson.dumps(config).decode()),
        cwd=ROOT,
        stdin=PIPE,
        stdout=PIPE,
        limit=LINE_BYTES_MAX,
    )
    return Led(name, process)


def configuration() -> dict[str, object]:
    """In the process that is led."""
    config: dict[str, object] = orjson.loads(sys.argv[1])
    return config
