"""The whole chaos: build up, load and faults, rest, and the judgement.

Invariant: what is judged is gathered after everything that was broken works again, and by then
nobody writes any more.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from uuid import uuid4

from tests.chaos import check_shown, check_writes, evidence, plan
from tests.chaos.faults import Chaos
from tests.chaos.findings import Findings
from tests.chaos.history import check_history
from tests.chaos.journal import Write
from tests.chaos.load import Load, Prepared, Size
from tests.chaos.log import Log, check_orders, check_reading, read_log
from tests.chaos.orders import Order
from tests.chaos.report import Report
from tests.chaos.subscriber import Seen
from tests.chaos.supervisor import Supervisor
from tests.chaos.verify import check_by_command
from tests.servers.choice import Source, Surroundings, look_around, order_kafka
from tests.servers.kafka import start_kafka
from tests.servers.postgres import CONNECTIONS_MAX, LocalPostgres
from tests.servers.server import Wipeable
from tests.system.installation import Installation, installed

PARTITIONS = 6
ROLES = ("api", "api", "relay", "relay", "projections", "projections", "intake", "intake")
CREATED_AT_ONCE = 16
BEHIND_MAX, BEHIND_AGAIN = 150_000, 100_000  # events that the read model may lack
PACE_SECONDS = 1.0
TELL_SECONDS = 15.0
# A postmaster's death must lose nothing, a machine's is not tried: fsync as in production.
POSTGRES_SETTINGS = {
    "max_connections": str(CONNECTIONS_MAX),
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
}


@dataclass
class Evidence:
    """All that is known at the end."""

    writes: list[Write]
    own: list[dict[str, object]]
    orders: list[Order]
    unknown: list[str]
    prepared: Prepared
    head: evidence.Head
    log: Log
    shown: check_shown.Shown
    histories: dict[str, list[dict[str, object]]]
    count: int
    models: list[dict[str, object]]
    totals: dict[str, tuple[int, int]]
    seen: dict[str, Seen] = field(default_factory=dict)  # by subscriber

    def judge(self) -> Findings:
        """The ledgers against everything else."""
        findings = Findings()
        findings.add_all(self.log.findings)
        known = self.prepared.request_ids
        findings.add_all(check_writes.check_writes(self.writes, self.log, known, self.head.epoch))
        sent = {str(order["orderId"]): order for order in self.orders}
        findings.add_all(check_orders(self.log, sent, self.unknown))
        findings.add_all(check_shown.check_own(self.own, self.shown))
        findings.add_all(check_shown.check_roll_ups(self.orders, self.shown))
        findings.add_all(check_shown.check_list(self.models, self.count, self.shown))
        findings.add_all(check_shown.check_totals(self.orders, self.totals))
        self._judge_histories(findings)
        for name, seen in self.seen.items():
            findings.add_all(seen.findings)
            findings.add_all(check_reading(seen.identities, self.log, name))
        return findings

    def _judge_histories(self, findings: Findings) -> None:
        by_customer: dict[str, list[Write]] = {}
        for write in self.writes:
            by_customer.setdefault(write.customer_id, []).append(write)
        for customer_id, events in self.histories.items():
            now = self.shown[customer_id]
            assert now is not None
            writes = by_customer.get(customer_id, [])
            findings.add_all(check_history(events, writes, now))


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
        async with self._servers() as (postgres, kafka, system):
            self._describe(postgres, kafka)
            supervisor = Supervisor(system, self.report.findings)
            await supervisor.start(self._roles(kafka))
            urls = [place.role.url for place in supervisor.of("api")]
            prepared = await _prepare(system, urls, self._size)
            load = Load(
                system.folder,
                system,
                urls,
                prepared,
                repeats_allowed=self.report.delivery == "at-least-once",
                partitions=PARTITIONS,
                real_kafka=kafka.server.real_kafka,
            )
            chaos = Chaos(
                *(system, postgres, kafka, supervisor, load, self.report.findings, self._tell)
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
        self.report.writes = dict(check_writes.counts(writes))
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

    def _describe(self, postgres: LocalPostgres, kafka: Wipeable) -> None:
        self.report.servers = [postgres.server.kind, kafka.server.kind]
        real = kafka.server.real_kafka
        self.report.left_out = plan.left_out(real_kafka=real)

    def _choose_delivery(self, kafka: Wipeable) -> None:
        """The stand-in has no transactions."""
        if not self.report.delivery:
            real = kafka.server.real_kafka
            self.report.delivery = "exactly-once" if real else "at-least-once"

    @staticmethod
    def _roles(kafka: Wipeable) -> list[str]:
        """One member of each group on the stand-in, which loses those of more."""
        names = list(ROLES)
        if not kafka.server.real_kafka:
            names.remove("projections")
            names.remove("intake")
        return names

    @asynccontextmanager
    async def _servers(self) -> AsyncIterator[tuple[LocalPostgres, Wipeable, Installation]]:
        """Servers of its own, since they are to be killed."""
        folder = Path(tempfile.mkdtemp(prefix="customers-chaos-"))
        postgres = LocalPostgres(POSTGRES_SETTINGS)
        kafka = await _start_kafka()
        try:
            await postgres.start()
            self._choose_delivery(kafka)
            settings = {"KAFKA_DELIVERY": self.report.delivery}
            url = postgres.server.address
            async with installed(folder, url, kafka.server, "chaos", **settings) as system:
                yield postgres, kafka, system
        finally:
            await kafka.stop()
            await postgres.stop()
            shutil.rmtree(folder, ignore_errors=True)


async def _start_kafka() -> Wipeable:
    here = look_around()
    offered = Surroundings(
        require_kafka=here.require_kafka,
        maven=here.maven,
        java_major=here.java_major,
        embedded_broker=here.embedded_broker,
    )
    order = [each for each in order_kafka(offered) if each is not Source.DOCKER]
    kafka = await start_kafka(offered, order)
    assert isinstance(kafka, Wipeable)
    return kafka


async def _prepare(system: Installation, urls: list[str], size: Size) -> Prepared:
    """Customers that there are before the first fault."""
    slots = asyncio.Semaphore(CREATED_AT_ONCE)
    request_ids: set[str] = set()

    async def create(number: int) -> str:
        request_id = uuid4().hex
        request_ids.add(request_id)
        headers = {**system.headers, "X-Request-Id": request_id}
        body = {"email": f"{uuid4().hex}@example.com"}
        url = f"{urls[number % len(urls)]}/user"
        async with slots, system.session.post(url, json=body, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
            return str((await answer.json())["id"])

    made = await asyncio.gather(*(create(number) for number in range(size.customers + size.shared)))
    return Prepared(made[size.shared :], made[: size.shared], request_ids)
