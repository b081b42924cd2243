"""Does to the installation what the plan says, one fault at a time to each of its parts.

Invariant: whatever is paused is woken and whatever is killed is started again, also when the chaos
is broken off; what was done is written down with its time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

import asyncpg

from service.embedded import EmbeddedError
from tests.chaos.evidence import DATABASE_AWAY
from tests.chaos.findings import Findings
from tests.chaos.load import Load
from tests.chaos.plan import ROLES, Fault
from tests.chaos.supervisor import Place, Supervisor
from tests.servers.server import Controllable, ServerUnavailable, Wipeable
from tests.system.installation import Installation

CONNECT_TIMEOUT_SECONDS = 3.0
MIGRATE_WITHIN_SECONDS = 90.0
RETRY_SECONDS = 0.5
RESTARTS_MAX = 5
CUT_SHARE = 0.6  # of all connections

CUT = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND random() < $1
"""


@dataclass
class Chaos:
    system: Installation
    postgres: Controllable
    kafka: Wipeable
    supervisor: Supervisor
    load: Load
    findings: Findings
    tell: Callable[[str], None]
    done: Counter[str] = field(default_factory=Counter)  # by name
    _postgres_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _broker_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self, plan: Sequence[Fault], seconds: float) -> None:
        """Until the time is over and the last fault is done with."""
        started = monotonic()
        async with asyncio.TaskGroup() as group:
            for fault in plan:
                await asyncio.sleep(max(0.0, started + fault.at_seconds - monotonic()))
                group.create_task(self._do(fault, started))
        await asyncio.sleep(max(0.0, started + seconds - monotonic()))

    async def _do(self, fault: Fault, started: float) -> None:
        lasts = f" for {fault.seconds:.1f} s" if fault.seconds else ""
        self.tell(f"{monotonic() - started:6.1f} s  {fault.name}{lasts}")
        if fault.target in ROLES:
            await self._do_to_role(fault)
        elif fault.target == "postgres":
            await self._do_to_postgres(fault)
        else:
            await self._do_to_broker(fault)
        self.done[fault.name] += 1

    async def _do_to_role(self, fault: Fault) -> None:
        places = self.supervisor.of(fault.target)
        if fault.kind == "kill all":
            await asyncio.gather(*(self._do_to_place(fault, place) for place in places))
            return
        place = places[fault.which % len(places)]
        if place.lock.locked():
            place = places[(fault.which + 1) % len(places)]
        await self._do_to_place(fault, place)

    async def _do_to_place(self, fault: Fault, place: Place) -> None:
        async with place.lock:
            match fault.kind:
                case "stop":
                    await self.supervisor.stop(place)
                case "pause":
                    await self.supervisor.pause(place, fault.seconds)
                case _:
                    await self.supervisor.kill(place)

    async def _do_to_postgres(self, fault: Fault) -> None:
        if fault.kind == "cut":
            await self._cut_connections()
            return
        async with self._postgres_lock:
            await self._do_to_server(fault, self.postgres)

    async def _do_to_broker(self, fault: Fault) -> None:
        async with self._broker_lock:
            if fault.kind == "wipe":
                await self._wipe()
            else:
                await self._do_to_server(fault, self.kafka)

    async def _do_to_server(self, fault: Fault, server: Controllable) -> None:
        if fault.kind == "pause":
            server.pause()
            try:
                await asyncio.sleep(fault.seconds)
            finally:
                server.wake()
        else:
            await server.kill()
            await self._start_again(server.restart)

    async def _start_again(self, restart: Callable[[], Awaitable[None]]) -> None:
        """As a supervisor does: more than once, where it has to be."""
        for _ in range(RESTARTS_MAX):
            try:
                await restart()
            except (ServerUnavailable, EmbeddedError) as error:
                self.tell(f"         {error}")
            else:
                return
        self.findings.add("harness", f"a server did not start {RESTARTS_MAX} times")

    async def _cut_connections(self) -> None:
        """Where nobody can connect, there is nothing to cut."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                connection = await asyncpg.connect(self.system.database_url)
                try:
                    await connection.execute("SELECT 1")
                    await connection.fetchval(CUT, CUT_SHARE)
                finally:
                    connection.terminate()
        except DATABASE_AWAY:
            self.tell("         no connections to cut: the database is away")

    async def _wipe(self) -> None:
        """As an operator would: the topics are made again, and the shop sends what it has."""
        await self.load.before_wipe()
        try:
            await self.kafka.wipe()
        except ServerUnavailable as error:
            self.tell(f"         {error}")
            await self._start_again(self.kafka.restart)
        deadline = monotonic() + MIGRATE_WITHIN_SECONDS
        while True:
            try:
                await self.system.command("migrate")
                break
            except AssertionError as error:  # the database may be away just then
                if monotonic() > deadline:
                    self.findings.add("harness", f"no topics after the wipe: {error}")
                    break
                await asyncio.sleep(RETRY_SECONDS)
        self.load.after_wipe()
