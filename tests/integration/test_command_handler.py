"""What commands answer while others write to the same customer, and what is remembered of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from time import monotonic

import pytest
from typing_extensions import override

from service import state_cache, turns
from service.appender import Appender
from service.command_handler import CommandHandler
from service.customer import (
    TAGS_MAX,
    AddTags,
    Command,
    DeleteCustomer,
    RemoveTags,
    UpdateCustomer,
)
from service.errors import Conflict, NotFound, Unavailable
from service.event_log import Append, EventLog, Key, Replayed, StreamHead
from service.events import (
    NO_VERSION,
    CustomerDeleted,
    CustomerTagged,
    Event,
    RecordedEvent,
    Version,
)
from service.identifiers import CustomerId
from service.postgres import COMMAND_TIMEOUT_SECONDS, Postgres
from service.snapshots import Snapshot
from tests.support.logs import a_change, a_create_request, a_request, appending, handling
from tests.support.topics import eventually
from tests.support.vaults import VAULT


class Overtaken(EventLog):
    """Another process appends once, just after this one has looked where the stream stands."""

    def __init__(self, postgres: Postgres, appender: Appender, change: Append) -> None:
        super().__init__(postgres, VAULT)
        self._appender = appender
        self._change: Append | None = change

    @override
    async def stream_and_key(
        self, tenant: str, customer_id: CustomerId, key: str | None
    ) -> tuple[StreamHead | None, tuple[bytes, Replayed] | None]:
        found = await super().stream_and_key(tenant, customer_id, key)
        if self._change is not None:
            change, self._change = self._change, None
            await self._appender.append(change)
        return found


async def test_the_position_of_a_change_of_nothing_is_that_of_the_version_shown(
    database: str,
) -> None:
    async with Postgres.connect(database) as postgres, appending(postgres) as appender:
        made = await CommandHandler(EventLog(postgres, VAULT), appender).handle(
            a_create_request("jane@example.com")
        )
        change = a_change(made.customer.id, 1, CustomerTagged(tags=("vip",)))
        handler = CommandHandler(Overtaken(postgres, appender, change), appender)

        written = await handler.handle(a_request(made.customer.id, UpdateCustomer()))

    assert (written.customer.version, written.position) == (2, made.position + 1)


@pytest.mark.parametrize(
    ("event", "command", "expected"),
    [
        (CustomerDeleted(), DeleteCustomer(), None),
        (CustomerTagged(tags=("vip",)), AddTags(("vip",)), frozenset({1})),
    ],
    ids=("a deletion", "a change with a condition"),
)
async def test_what_the_first_attempt_did_under_the_key_just_now_is_no_reason_to_refuse(
    database: str, event: Event, command: Command, expected: frozenset[int] | None
) -> None:
    """A caller without an answer asks another process, while the first one still commits."""
    key = Key("key", b"fingerprint", 200)
    async with Postgres.connect(database) as postgres, appending(postgres) as appender:
        made = await CommandHandler(EventLog(postgres, VAULT), appender).handle(
            a_create_request("jane@example.com")
        )
        change = a_change(made.customer.id, 1, event)._replace(
            closes_stream=isinstance(event, CustomerDeleted), key=key
        )
        handler = CommandHandler(Overtaken(postgres, appender, change), appender)

        written = await handler.handle(
            a_request(made.customer.id, command, expected_versions=expected, key=key)
        )

    assert (written.position, written.is_replayed) == (made.position + 1, True)


async def test_in_an_outage_nobody_waits_for_the_failures_of_all_before(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(turns, "WAITERS_MAX", 10)
    async with handling(database) as handler, Postgres.connect(database) as postgres:
        made = await handler.handle(a_create_request("jane@example.com"))
        requests = [a_request(made.customer.id, AddTags((f"t{n}",))) for n in range(31)]
        async with postgres.transaction() as transaction:
            await transaction.execute("LOCK TABLE log.stream IN ACCESS EXCLUSIVE MODE")
            first = asyncio.create_task(handler.handle(requests[0]))
            await eventually(lambda: waits_for_the_table(postgres))
            started = monotonic()
            others = await asyncio.gather(
                *(handler.handle(each) for each in requests[1:]), return_exceptions=True
            )
            waited_seconds = monotonic() - started

        assert {type(each) for each in others} == {Unavailable}
        assert [each.code for each in others if isinstance(each, Unavailable)] == (
            ["overloaded"] * 30
        )
        assert waited_seconds < COMMAND_TIMEOUT_SECONDS  # that of the first of them alone
        assert (await first).customer.tags == ("t0",)
        assert (await handler.handle(requests[1])).customer.tags == ("t0", "t1")


async def waits_for_the_table(postgres: Postgres) -> bool:
    waiting = await postgres.fetch_one(
        int,
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'log.stream'::regclass",
    )
    return waiting == 1


class Counting(EventLog):
    """Counts whose streams are read."""

    def __init__(self, postgres: Postgres) -> None:
        super().__init__(postgres, VAULT)
        self.read: list[CustomerId] = []

    @override
    def folding(
        self, tenant: str, customer_id: CustomerId, *, after: Version = NO_VERSION
    ) -> AsyncIterator[Snapshot | RecordedEvent]:
        self.read.append(customer_id)
        return super().folding(tenant, customer_id, after=after)


async def test_states_in_memory_are_bounded_by_what_they_weigh(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_cache, "CACHED_BYTES_MAX", 50_000)
    async with Postgres.connect(database) as postgres, appending(postgres) as appender:
        log = Counting(postgres)
        handler = CommandHandler(log, appender)
        large, small, other = [
            (await handler.handle(a_create_request(f"{n}@example.com"))).customer.id
            for n in range(3)
        ]
        for each in (large, small):
            await handler.handle(a_request(each, AddTags(("vip",))))
        assert log.read == []

        await handler.handle(a_request(large, AddTags(("x" * 30_000,))))
        await handler.handle(a_request(small, AddTags(("new",))))
        await handler.handle(a_request(large, AddTags(("new",))))
        assert log.read == []

        await handler.handle(a_request(other, AddTags(("x" * 30_000,))))  # the large one has to go
        await handler.handle(a_request(other, AddTags(("new",))))
        assert log.read == []
        await handler.handle(a_request(large, AddTags(("more",))))
        assert log.read == [large]


async def test_a_state_that_weighs_too_much_alone_is_not_remembered(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_cache, "CACHED_BYTES_MAX", 10_000)
    async with Postgres.connect(database) as postgres, appending(postgres) as appender:
        log = Counting(postgres)
        handler = CommandHandler(log, appender)
        customer = (await handler.handle(a_create_request("jane@example.com"))).customer.id
        await handler.handle(a_request(customer, AddTags(("x" * 30_000,))))

        written = await handler.handle(a_request(customer, AddTags(("new",))))

    assert log.read == [customer]
    assert len(written.customer.tags) == 2


class Watched(EventLog):
    """Counts how often it is looked where a stream stands."""

    looks = 0

    @override
    async def stream_and_key(
        self, tenant: str, customer_id: CustomerId, key: str | None
    ) -> tuple[StreamHead | None, tuple[bytes, Replayed] | None]:
        self.looks += 1
        return await super().stream_and_key(tenant, customer_id, key)


@dataclass(frozen=True)
class TwoProcesses:
    """`here` remembers `customer_id`; `there` is another process."""

    here: CommandHandler
    log_here: Watched
    there: CommandHandler
    customer_id: CustomerId


@pytest.fixture
async def processes(database: str) -> AsyncIterator[TwoProcesses]:
    async with Postgres.connect(database) as postgres, appending(postgres) as appender:
        log = Watched(postgres, VAULT)
        here = CommandHandler(log, appender)
        made = await here.handle(a_create_request("jane@example.com"))
        there = CommandHandler(EventLog(postgres, VAULT), appender)
        yield TwoProcesses(here, log, there, made.customer.id)


async def test_a_customer_that_is_remembered_is_changed_without_a_look(
    processes: TwoProcesses,
) -> None:
    for number, tag in enumerate("abc", start=2):
        written = await processes.here.handle(a_request(processes.customer_id, AddTags((tag,))))
        assert written.customer.version == number
    assert processes.log_here.looks == 0


async def test_what_another_process_wrote_is_not_overwritten(processes: TwoProcesses) -> None:
    await processes.there.handle(a_request(processes.customer_id, AddTags(("theirs",))))
    written = await processes.here.handle(a_request(processes.customer_id, AddTags(("ours",))))
    assert (written.customer.version, written.customer.tags) == (3, ("theirs", "ours"))
    assert processes.log_here.looks == 1


async def test_a_refusal_is_true_of_the_present_and_not_of_what_is_remembered(
    processes: TwoProcesses,
) -> None:
    many = AddTags(tuple(f"tag{number}" for number in range(TAGS_MAX)))
    await processes.here.handle(a_request(processes.customer_id, many))
    await processes.there.handle(a_request(processes.customer_id, RemoveTags(("tag0",))))
    written = await processes.here.handle(a_request(processes.customer_id, AddTags(("new",))))
    assert len(written.customer.tags) == TAGS_MAX


async def test_another_tenants_customer_that_is_remembered_is_not_found(
    processes: TwoProcesses,
) -> None:
    with pytest.raises(NotFound, match="customer_not_found"):
        await processes.here.handle(
            a_request(processes.customer_id, AddTags(("theirs",)), tenant="other")
        )


async def test_a_key_that_another_process_has_used_answers_the_same_again(
    processes: TwoProcesses,
) -> None:
    key = Key("k-1", b"print", 200)
    request = a_request(processes.customer_id, AddTags(("vip",)), key=key)
    first = await processes.there.handle(request)
    again = await processes.here.handle(request)
    assert (again.is_replayed, again.customer.version) == (True, first.customer.version)
    other = a_request(processes.customer_id, AddTags(("x",)), key=Key("k-1", b"other", 200))
    with pytest.raises(Conflict, match="idempotency_key_reused"):
        await processes.here.handle(other)


async def test_a_customer_that_another_process_deleted_is_gone(processes: TwoProcesses) -> None:
    await processes.there.handle(a_request(processes.customer_id, DeleteCustomer()))
    with pytest.raises(NotFound, match="customer_deleted"):
        await processes.here.handle(a_request(processes.customer_id, AddTags(("vip",))))
