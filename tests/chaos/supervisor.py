"""Keeps the roles running, as a supervisor does: what has ended is started again at its address.

Invariant: who ended without being told to is a finding; so is who was told to, and did not end
with 0 in time.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM, Signals
from time import monotonic

from service.embedded.child_process import accepts, free_port
from tests.chaos.findings import Findings
from tests.system.installation import Installation, Role

LOOK_SECONDS = 0.1
READY_WITHIN_SECONDS = 120.0  # eight processes that start at once
UP_TIMEOUT_SECONDS = 30.0
STOPPED_WITHIN_SECONDS = 15.0  # SHUTDOWN_TIMEOUT_SECONDS is 10, and the machine is busy
SAID_LINES_MAX = 3


@dataclass
class Place:
    """Where one process of a role runs; one fault at a time is done to it."""

    role: Role
    port: int
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_told: bool = False  # it is meant to end, and with which exit code is known to who told it
    starts: int = 1

    @property
    def name(self) -> str:
        return self.role.name

    def signal(self, number: Signals) -> None:
        if self.role.is_running:
            self.role.process.process.send_signal(number)


class Supervisor:
    def __init__(self, system: Installation, findings: Findings) -> None:
        self._system = system
        self._findings = findings
        self.places: list[Place] = []

    async def start(self, names: Sequence[str]) -> None:
        for name in names:
            port = free_port()
            self.places.append(Place(self._system.launch(name, port=port), port))
        roles = [place.role for place in self.places]
        await self._system.until_ready(*roles, within_seconds=READY_WITHIN_SECONDS)

    def of(self, name: str) -> list[Place]:
        return [place for place in self.places if place.name == name]

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            for place in self.places:
                if not place.role.is_running:
                    self._start_again(place)
            await asyncio.sleep(LOOK_SECONDS)

    def _start_again(self, place: Place) -> None:
        if not place.is_told:
            code = place.role.process.process.returncode
            said = " | ".join(place.role.process.said[-SAID_LINES_MAX:])
            self._findings.add("role", f"{place.name} ended by itself with {code}: {said}")
        place.role = self._system.launch(place.name, port=place.port)
        place.is_told = False
        place.starts += 1

    async def kill(self, place: Place) -> None:
        place.is_told = True
        place.signal(SIGKILL)

    async def stop(self, place: Place) -> None:
        """Only who listens already can end in good order."""
        await _until(lambda: accepts(place.port), UP_TIMEOUT_SECONDS)
        role = place.role
        place.is_told = True
        place.signal(SIGTERM)
        ended = await _until(lambda: not role.is_running, STOPPED_WITHIN_SECONDS)
        code = role.process.process.returncode
        if not ended or code != 0:
            said = " | ".join(role.process.said[-SAID_LINES_MAX:])
            what = f"ended with {code}" if ended else f"runs {STOPPED_WITHIN_SECONDS:.0f} s later"
            self._findings.add("role", f"{place.name} was told to stop and {what}: {said}")
            with suppress(ProcessLookupError):
                os.kill(role.process.process.pid, SIGKILL)

    async def pause(self, place: Place, seconds: float) -> None:
        role = place.role
        if not role.is_running:
            return
        process = role.process.process
        process.send_signal(SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            process.send_signal(SIGCONT)

    def check_logs(self) -> None:
        """What may not be said by any role."""
        for role in self._system.roles:
            for event in ("request_failed", "loop_error"):
                for line in role.logged(f'"{event}"'):
                    self._findings.add("answered wrongly", f"{role.name}: {line.strip()}")


async def _until(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    deadline = monotonic() + timeout_seconds
    while not condition():
        if monotonic() > deadline:
            return False
        await asyncio.sleep(LOOK_SECONDS / 2)
    return True
