"""The whole chaos: build up, load and faults, rest, and the judgement.

Invariant: what is judged is gathered after everything that was broken works again, and by then
nobody writes any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic

from tests.chaos import evidence, plan
from tests.chaos.check_writes import counts
from tests.chaos.faults import Chaos
from tests.chaos.judgement import Evidence
from tests.chaos.load import Load, Size
from tests.chaos.log import read_log
from tests.chaos.report import Report
from tests.chaos.subscriber import Seen
from tests.chaos.supervisor import Supervisor
from tests.chaos.surroundings import World, prepare, world
from tests.chaos.verify import check_by_command
from tests.system.installation import Installation

PARTITIONS = 6
BEHIND_MAX, BEHIND_AGAIN = 150_000, 100_000  # events that the read model may lack
PACE_SECONDS = 1.0
TELL_SECONDS = 15.0


class Run:
    """One chaos; `tell` is for people who watch."""

    def __init__(
        self,
        seed: int,
        seconds: float,
        size: Size,
        tell: Callable[[str], None],
        *,
        command: str = "",
        delivery: str = "",
    ) -> None:
        self._seed, self._seconds, self._size, self._tell = seed, seconds, size, tell
        self.report = Report(seed, seconds / 60, command, [], delivery)
        self.evidence: Evidence | None = None
        self.logs: list[tuple[str, list[str]]] = []  # by role, of every process there was
        self._phase_began = monotonic()

    async def run(self) -> Report:
        async with world(self.report.delivery) as made:
            self._describe(made)
            system = made.system
            supervisor = Supervisor(system, self.report.findings)
            await supervisor.start(made.roles)
            urls = [place.role.url for place in supervisor.of("api")]
            prepared = await prepare(system, urls, self._size)
            load = Load(
                system.folder,
                system,
                urls,
                prepared,
                repeats_allowed=self.report.delivery == "at-least-once",
                partitions=PARTITIONS,
                real_kafka=made.has_real_kafka,
            )
            chaos = Chaos(
                *(system, made.postgres, made.kafka, supervisor, load, self.report.findings),
                self._tell,
            )
            try:
                await self._break(chaos, supervisor, load)
                await self._gather(system, load, urls)
            finally:
                await load.end()
                self.logs = [(role.name, list(role.process.said)) for role in system.roles]
            supervisor.check_logs()
            await self._judge(system)
        return self.report

    def save_logs(self, folder: Path) -> None:
        """A file for every process of a role that there was, in the order of their starts."""
        folder.mkdir(parents=True, exist_ok=True)
        for number, (name, lines) in enumerate(self.logs, start=1):
            (folder / f"{number:03}-{name}.log").write_text("".join(lines), encoding="utf-8")

    async def _break(self, chaos: Chaos, supervisor: Supervisor, load: Load) -> None:
        faults = plan.draw(self._seed, self._seconds, real_kafka=chaos.kafka.server.real_kafka)
        await load.start(self._seed, self._size)
        self._phase("build up")
        supervising = asyncio.create_task(supervisor.run())
        pacing = asyncio.create_task(self._pace(chaos, load))
        try:
            await chaos.run(faults, self._seconds)
            self.report.faults = dict(sorted(chaos.done.items()))
            self._phase("load and faults")
            self._tell("no more faults: the last answers are awaited")
            await load.stop(self.report.findings)
        finally:
            for task in (pacing, supervising):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _pace(self, chaos: Chaos, load: Load) -> None:
        """Tell how far it is, and keep the shop from running away from the read model."""
        told_at, is_held = monotonic(), False
        while True:
            await asyncio.sleep(PACE_SECONDS)
            head = await evidence.look(chaos.system.database_url)
            if head is None:
                continue
            behind = head.position - head.shown
            if is_held != (behind > (BEHIND_AGAIN if is_held else BEHIND_MAX)):
                is_held = not is_held
                load.tell_shop("hold" if is_held else "go")
            if monotonic() - told_at > TELL_SECONDS:
                told_at = monotonic()
                self._tell(f"          {head.position:,} events, {behind:,} not shown yet")

    async def _gather(self, system: Installation, load: Load, urls: list[str]) -> None:
        orders, unknown, self.report.orders = load.orders()
        head, late = await evidence.come_to_rest(system.database_url, orders)
        for text in late:
            self.report.findings.add("lost", text)
        self._phase("rest")
        self._tell(f"at rest with {head.position:,} events: looking at everything")
        self.report.events = head.position
        seen = await self._read_topic(load, head.position)
        self._phase("reading the topic")
        log = await read_log(system.database_url)
        self._phase("reading the log")
        asking = evidence.Asking(system, urls)
        writes, own = load.writes(), load.own()
        every = {*load.prepared.customers, *load.prepared.shared, *(each["id"] for each in own)}
        shown = await asking.customers(every)
        with_history = [
            each for each in every - set(load.prepared.customers) if shown[each] is not None
        ]
        histories = await asking.histories(with_history)
        count, models = await asking.listed(head.position)
        self._phase("asking the API")
        self.report.writes = dict(counts(writes))
        self.evidence = Evidence(
            *(writes, own, orders, unknown, load.prepared, head, log, shown, histories),
            *(count, models, await evidence.totals(system.database_url), seen),
        )

    async def _read_topic(self, load: Load, position: int) -> dict[str, Seen]:
        """By the subscriber of the first hour, and by one that begins now."""
        assert load.subscriber is not None
        late = await load.subscribe("late subscriber")
        try:
            seen = {
                each.name: await load.read_until(each, position, self.report.findings)
                for each in (load.subscriber, late)
            }
        finally:
            await late.end()
        for name, each in seen.items():
            self.report.topic[name] = each.records
            self.report.topic[f"{name}: repeats"] = each.repeats
            self.report.topic[f"{name}: again after the wipe"] = each.republished
        return seen

    async def _judge(self, system: Installation) -> None:
        assert self.evidence is not None
        self.report.findings.add_all(self.evidence.judge())
        self._phase("judging")
        self.report.findings.add_all(await check_by_command(system))
        self._phase("customers verify")

    def _phase(self, name: str) -> None:
        self.report.seconds[name] = monotonic() - self._phase_began
        self._phase_began = monotonic()

    def _describe(self, made: World) -> None:
        self.report.servers = [made.postgres.server.kind, made.kafka.server.kind]
        self.report.delivery = made.delivery
        self.report.left_out = plan.left_out(real_kafka=made.has_real_kafka)
