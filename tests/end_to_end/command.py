"""The command `customers` as a process, with an environment of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

PROGRAM = (sys.executable, "-m", "service")
COMMAND_TIMEOUT_SECONDS = 60.0
START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 15.0
POLL_SECONDS = 0.02
PREFIX = "CUSTOMERS_"


def environment(
    folder: Path, settings: Mapping[str, str], release: Path | None = None
) -> dict[str, str]:
    """Nothing of this session's settings; `settings` are names without the prefix. `release` is
    where another release of our code is imported from."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    ours = {"DATA_DIRECTORY": str(folder), **settings}
    found = bare | {PREFIX + name: value for name, value in ours.items()}
    return found if release is None else found | {"PYTHONPATH": str(release)}


def run(
    folder: Path, *arguments: str, release: Path | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in a folder without a `.env` file."""
    return subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_SECONDS,
        check=False,
        cwd=folder,
        env=environment(folder, settings, release),
    )


@dataclass(slots=True)
class Running:
    """A command that runs until stopped."""

    process: subprocess.Popen[str]
    said: list[str]  # lines of stderr so far

    def first_line(self) -> str:
        """The first line of stdout: empty where the process ended without one."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def wait_for(self, text: str) -> str:
        """The first line of stderr that holds `text`."""
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            for line in self.said:
                if text in line:
                    return line
            if self.process.poll() is not None:
                break
            time.sleep(POLL_SECONDS)
        raise AssertionError(f"{text!r} was not said: {self.said}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """The exit code, and how many seconds it took."""
        started = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(STOP_TIMEOUT_SECONDS)
        return code, time.monotonic() - started


@contextmanager
def running(
    folder: Path, *arguments: str, release: Path | None = None, **settings: str
) -> Iterator[Running]:
    """A command running for the length of the block; killed at its end where it still does."""
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment(folder, settings, release),
    )
    said: list[str] = []
    assert process.stderr is not None
    reader = threading.Thread(target=said.extend, args=(process.stderr,), daemon=True)
    reader.start()
    try:
        yield Running(process, said)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(STOP_TIMEOUT_SECONDS)
        reader.join(STOP_TIMEOUT_SECONDS)
        assert process.stdout is not None
        process.stdout.close()
        process.stderr.close()


def call(method: str, url: str, token: str | None = None, body: object = None) -> tuple[int, bytes]:
    """The status and body of one HTTP request."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} if data else {}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    request = Request(url, data=data, headers=headers, method=method)  # noqa: S310
    try:
        with urlopen(request, timeout=COMMAND_TIMEOUT_SECONDS) as answer:  # noqa: S310
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()
