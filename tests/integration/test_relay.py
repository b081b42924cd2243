"""What the relay publishes, on a real PostgreSQL and a real broker: everything, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from time import monotonic

import pytest

from service.event_log import EventLog, Page
from service.events import Position
from service.relay import Lease, Relay
from service.relay.delivery import Delivery, Session
from service.relay.hints import Hints
from service.relay.laggards import WATERMARK_SECONDS
from service.relay.lease import Term
from service.relay.standing import Batch, Standing
from tests.servers.server import Handle
from tests.support.logs import appending
from tests.support.relays import DELIVERIES, World, a_world, is_true, running
from tests.support.topics import chain_breaks, events_of, eventually, watermarks_of
from tests.support.vaults import VAULT

APART_SECONDS = 0.5


@pytest.fixture(params=DELIVERIES)
def delivers(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def world(
    database: str, kafka_server: Handle, topic_suffix: str, delivers: str
) -> AsyncIterator[World]:
    async with a_world(database, kafka_server, topic_suffix, delivers) as world:
        yield world


async def test_every_event_is_published_once_in_order_while_others_write(world: World) -> None:
    relay = world.relay(batch_events_max=50)
    async with running(relay), appending(world.postgres) as other_appender:
        other = replace(world, appender=other_appender)
        await asyncio.gather(*(each.append(60) for each in (world, other, world, other)))
        await eventually(world.all_is_recorded)

    records = await world.records()
    events = events_of(records)
    assert sorted(event.position for event in events) == list(range(1, 721))
    assert chain_breaks(records) == []
    by_customer = sorted(events, key=lambda event: event.customer_id)  # stable: keeps the order
    for _, history in groupby(by_customer, key=lambda event: event.customer_id):
        assert [event.version for event in history] == [1, 2, 3]
    log = {event.position: event for event in await EventLog(world.postgres, VAULT).page(0)}
    assert all(event.decoded() == log[event.position].decoded().event for event in events)
    assert all(event.time == log[event.position].time for event in events)
    assert world.observed.events == 720


async def test_a_relay_tells_how_far_the_log_is_in_kafka_before_it_publishes(world: World) -> None:
    """Else one that was started, and has nothing to do, would look as if it had stalled."""
    async with running(world.relay()):
        await world.append(1)
        await eventually(world.all_is_recorded)
    async with running(world.relay()):
        await eventually(lambda: is_true(len(world.observed.begun) == 2))
    assert world.observed.begun == [0, 3]


async def test_idle_partitions_get_watermarks_and_nothing_is_repeated(world: World) -> None:
    async def all_partitions_are_up_to_date() -> bool:
        recorded = await world.recorded()
        return recorded is not None and {recorded.position, *recorded.tails} == {3}

    relay = world.relay()
    async with running(relay):
        await world.append(1)
        await eventually(all_partitions_are_up_to_date)
        before = await world.records()
        deadline = monotonic() + 10 * WATERMARK_SECONDS
        await eventually(lambda: is_true(monotonic() > deadline))

    records = await world.records()
    assert records == before
    assert chain_breaks(records) == []
    last = {record.partition: record.offset for record in records}
    ends = [mark for mark in watermarks_of(records) if mark.offset == last[mark.partition]]
    assert len(ends) == 5
    assert {mark.position for mark in ends} == {3}


async def test_catching_up_makes_no_watermarks(world: World) -> None:
    await world.append(300)
    relay = world.relay(batch_events_max=10)
    async with running(relay):
        await eventually(world.all_is_recorded)

    records = await world.records()
    assert {event.position for event in events_of(records)} == set(range(1, 901))
    assert {mark.position for mark in watermarks_of(records)} <= {900}


async def test_everything_works_with_every_notification_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.relay.hints.CHANNEL", "nobody_notifies")
    async with running(world.relay()):
        await world.append(5)
        assert await eventually(world.all_is_recorded) < 10


@dataclass
class Heard:
    """How often relays began to listen, and ended it."""

    begun: int = 0
    ended: int = 0
    has_begun: asyncio.Event = field(default_factory=asyncio.Event)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    heard, begin, end = Heard(), Hints.begin, Hints.end

    async def begin_and_tell(hints: Hints) -> bool:
        is_new = await begin(hints)
        heard.begun += is_new
        heard.has_begun.set()
        return is_new

    async def end_and_tell(hints: Hints) -> None:
        await end(hints)
        heard.ended += 1

    monkeypatch.setattr(Hints, "begin", begin_and_tell)
    monkeypatch.setattr(Hints, "end", end_and_tell)
    return heard


async def test_a_relay_with_nothing_to_do_hears_that_the_log_has_grown(
    world: World, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("POLL_SECONDS_MIN", "POLL_SECONDS_MAX", "WATERMARK_SECONDS"):
        monkeypatch.setattr(f"service.relay.relay.{name}", 3_600.0)
    async with running(world.relay()), asyncio.timeout(20):
        await heard.has_begun.wait()
        await world.append(1)
        await eventually(world.all_is_recorded)
    assert (heard.begun, heard.ended) == (1, 0)


async def test_a_relay_that_always_publishes_does_not_listen(
    world: World, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.relay.relay.BUSY_SECONDS", -1.0)
    async with running(world.relay()):
        for turn in range(1, 4):
            await eventually(lambda turn=turn: is_true(heard.begun == turn))
            await world.append(1)
            await eventually(world.all_is_recorded)
    assert heard.ended >= 3


async def test_a_link_that_breaks_while_a_relay_listens_breaks_nothing_off(
    world: World, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.relay.relay.BUSY_SECONDS", -1.0)
    async with running(world.relay()):
        await heard.has_begun.wait()
        ended = await world.postgres.fetch(
            bool,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'LISTEN %'",
        )
        assert ended == [True]
        for _ in range(2):
            await world.append(1)
            await eventually(world.all_is_recorded)
    assert world.observed.failures == []
    assert len(world.observed.begun) == 1


async def test_batches_are_kept_apart_where_there_is_no_backlog(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.relay.relay.BATCH_SECONDS_MIN", APART_SECONDS)
    async with running(world.relay()):
        await world.append(1)
        await eventually(world.all_is_recorded)
        began = monotonic()
        for _ in range(3):
            await world.append(1)
            await eventually(world.all_is_recorded)
        assert monotonic() - began >= 2 * APART_SECONDS


@dataclass
class Slow:
    """A session that sends a batch only when the one after it has been read, if there is one."""

    session: Session
    reads: list[int]
    end: int
    sizes: list[int]

    @property
    def start(self) -> Standing:
        return self.session.start

    @property
    def batch_pages_max(self) -> int:
        return self.session.batch_pages_max

    async def publish(self, batch: Batch) -> None:
        after = batch.after.position
        await eventually(lambda: is_true(after == self.end or after in self.reads))
        self.sizes.append(batch.events)
        await self.session.publish(batch)

    async def check(self) -> None:
        await self.session.check()


@dataclass
class SlowDelivery:
    delivery: Delivery
    reads: list[int]
    end: int
    sizes: list[int]

    @asynccontextmanager
    async def session(self, term: Term) -> AsyncIterator[Session]:
        async with self.delivery.session(term) as session:
            yield Slow(session, self.reads, self.end, self.sizes)


async def test_a_batch_that_bytes_have_cut_is_followed_by_one_that_was_read_ahead(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.event_log.PAGE_BYTES_MAX", 2_000)
    page = EventLog.page
    reads: list[int] = []

    async def noting(log: EventLog, after: Position, *, limit: int = 1_000) -> Page:
        reads.append(after)
        return await page(log, after, limit=limit)

    monkeypatch.setattr(EventLog, "page", noting)
    await world.append(30)
    delivery = SlowDelivery(world.delivery(), reads, 90, [])
    async with running(
        Relay(
            world.postgres,
            EventLog(world.postgres, VAULT),
            delivery,
            Lease(world.postgres, world.topic),
        )
    ):
        await eventually(world.all_is_recorded)

    events = await world.events()
    assert sorted(event.position for event in events) == list(range(1, 91))
    assert chain_breaks(await world.records()) == []
    assert max(delivery.sizes) < 20
