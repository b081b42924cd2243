"""The writer of states: killed between any two steps, late behind a rival, catching up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import pytest
from typing_extensions import override

from projections.state_store import Place, Span, StateStore, Touched
from projections.state_writer import StateWriter
from service.errors import Unavailable
from service.events import CustomerTagged
from service.kafka import Producer, Record
from service.postgres import Postgres
from tests.servers.server import Handle
from tests.support.logs import a_change, a_creation
from tests.support.states import Written, a_written, last_states


@pytest.fixture
async def written(database: str, kafka_server: Handle, topic_suffix: str) -> AsyncIterator[Written]:
    async with a_written(database, kafka_server, topic_suffix) as made:
        yield made


class Late:
    """Sends only once somebody else has been at work, as many times as there is work."""

    def __init__(self, producer: Producer, *before: Callable[[], Awaitable[None]]) -> None:
        self._producer = producer
        self._before = list(before)

    async def send(self, topic: str, records: Mapping[int, Sequence[Record]]) -> Mapping[int, int]:
        if self._before:
            await self._before.pop(0)()
        return await self._producer.send(topic, records)


class Cut(Exception):
    """A process that is killed between two steps."""


class CutStore(StateStore):
    """Cuts before or after one of its steps."""

    def __init__(self, postgres: Postgres, steps: int) -> None:
        super().__init__(postgres)
        self.steps = steps

    async def step(self) -> None:
        self.steps -= 1
        if self.steps == 0:
            raise Cut

    @override
    async def page(self, span: Span) -> Sequence[Touched]:
        await self.step()
        return await super().page(span)

    @override
    async def move(self, place: Place, last: Touched) -> Place | None:
        await self.step()
        moved = await super().move(place, last)
        await self.step()
        return moved


async def write_for_ever(writer: StateWriter) -> None:
    while True:
        await writer.write()


async def test_a_writer_that_is_killed_between_any_two_steps_loses_nothing(
    written: Written,
) -> None:
    async with Producer.connect(written.config) as producer:
        for steps in range(1, 12):
            await written.append(steps, steps=30, prefix=f"{steps}_")
            await written.model.catch_up()
            store = CutStore(written.model.postgres, steps)
            writer = await written.writer(
                Late(producer, *[store.step] * steps), page_events_max=10, store=store
            )
            with pytest.raises(Cut):
                await write_for_ever(writer)
        last = await written.writer(producer)
        while await last.write():
            pass
    assert await written.is_up_to_date()
    await written.assert_exact()


async def test_who_changes_all_the_time_is_written_before_the_end_is_reached(
    written: Written,
) -> None:
    """Only what the log held at the beginning is left for a later page."""
    creation = a_creation("busy@example.com")
    await written.model.appender.append(creation)
    await written.model.catch_up()
    async with Producer.connect(written.config) as producer:
        writer = await written.writer(producer, page_events_max=1)
        for version in range(1, 5):
            tags = CustomerTagged(tags=(f"tag{version}",))
            await written.model.appender.append(a_change(creation.customer_id, version, tags))
            await written.model.catch_up()
            assert await writer.write() == 1
            assert last_states(await written.records()) == await written.shown()


async def test_who_lost_the_race_writes_what_is_shown_again(written: Written) -> None:
    """What it sent lies after the newer state of the one that won, and so it does once more."""
    creation = a_creation("raced@example.com")
    await written.model.appender.append(creation)
    await written.model.catch_up()
    async with Producer.connect(written.config) as producer:
        rival = await written.writer(producer)

        async def tagged(version: int) -> None:
            tags = CustomerTagged(tags=(f"tag{version}",))
            await written.model.appender.append(a_change(creation.customer_id, version, tags))
            await written.model.catch_up()
            assert await rival.write() > 0

        late = Late(producer, lambda: tagged(1), lambda: tagged(2))
        writer = await written.writer(late)
        assert await writer.write() == 0
        versions = [int(dict(each.headers)["ce_sequence"]) for each in await written.records()]
        assert versions == [2, 1]
        assert await writer.write() == 0
        versions = [int(dict(each.headers)["ce_sequence"]) for each in await written.records()]
        assert versions == [2, 1, 3, 2, 3]
    await written.assert_exact()


async def test_what_a_broken_link_left_in_doubt_is_written_again(written: Written) -> None:
    """Whether it was written, and after what, nobody knows; a rival may have gone on meanwhile."""
    creation = a_creation("doubtful@example.com")
    await written.model.appender.append(creation)
    await written.model.catch_up()
    in_doubt: set[str] = set()
    async with Producer.connect(written.config) as producer:

        async def breaks() -> None:
            rival = await written.writer(producer)
            assert await rival.write() == 1
            raise Unavailable("broker_unavailable", "The link broke.")

        writer = await written.writer(Late(producer, breaks), in_doubt=in_doubt)
        with pytest.raises(Unavailable):
            await writer.write()
        assert in_doubt == {creation.customer_id}
        again = await written.writer(producer, in_doubt=in_doubt)
        assert await again.write() == 0
    assert in_doubt == set()
    assert len(await written.records()) == 2


async def test_documents_are_sent_in_bites(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.state_store.DOCUMENTS_BYTES_MAX", 1_000)
    await written.append(6, steps=200)
    await written.model.catch_up()
    sends = 0

    async def counted() -> None:
        nonlocal sends
        sends += 1

    async with Producer.connect(written.config) as producer:
        late = Late(producer, *[counted] * 100)
        writer = await written.writer(late, page_events_max=500)
        assert await writer.write() > 100
    await written.assert_exact()
    assert 5 < sends < len(await written.shown())
