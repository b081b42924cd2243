"""A rotation: afterwards only the new key opens, and at no moment is one missing that is needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import pytest

from service.appender import Appender
from service.command_handler import CommandHandler
from service.customer import CreateCustomer, DeleteCustomer, UpdateCustomer
from service.errors import ConfigurationError, Conflict, Corrupt, Unavailable
from service.event_log import Append, Appended, EventLog, Key
from service.events import CustomerChanges, CustomerDeleted, Position
from service.identifiers import CustomerId, new_customer_id
from service.master_key import (
    KeySource,
    MasterKey,
    WrappingKey,
    lock_master_key,
    provide_master_key,
)
from service.postgres import Postgres, Transaction
from service.vault import (
    CustomerKey,
    Vault,
    begin_rotation,
    count_keys,
    finish_rotation,
    is_rotated,
    rewrap,
)
from service.vault.rotation import BATCH_KEYS_MAX, SQL, Rewrapped
from tests.support.logs import a_change, a_create_request, a_creation, a_request
from tests.support.topics import eventually

HELD = "SELECT customer_id, wrapped FROM vault.customer_key ORDER BY customer_id"
EVENTS = "SELECT event::text FROM log.event ORDER BY position"
SET = "UPDATE vault.customer_key SET wrapped = $2 WHERE customer_id = $1"
DESTROY = """
UPDATE vault.customer_key SET wrapped = NULL, destroyed_at = now() WHERE customer_id = $1
"""
LOCK_WAITS = """
SELECT count(*) FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND datname = current_database()
"""
LOCK_KEY = "SELECT customer_id FROM vault.customer_key WHERE customer_id = $1 FOR UPDATE"
UNLOCKED = """
SELECT customer_id FROM vault.customer_key WHERE customer_id = ANY ($1::text[])
ORDER BY customer_id FOR UPDATE SKIP LOCKED
"""
# A sequence goes on, whatever is rolled back: only the first so many inserts are.
ROLLS_BACK = """
CREATE SEQUENCE public.inserted;
CREATE FUNCTION public.roll_back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('public.inserted') <= {times} THEN
        RAISE EXCEPTION 'jane@example.com' USING ERRCODE = '{state}';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER rolls_back AFTER INSERT ON log.event
    FOR EACH STATEMENT EXECUTE FUNCTION public.roll_back();
"""
WAIT_SECONDS_MAX = 4.0  # for a write behind a rotation that stands still


@dataclass
class World:
    postgres: Postgres
    source: KeySource
    key: MasterKey  # as it was at first
    log: EventLog
    appender: Appender
    handler: CommandHandler
    numbers: count[int]

    async def create(self) -> CustomerId:
        customer_id = new_customer_id()
        email = f"jane{next(self.numbers)}@example.com"
        await self.handler.handle(
            a_request(customer_id, CreateCustomer(id=customer_id, email=email))
        )
        return customer_id

    async def hold(self, customers: int) -> None:
        """Keys of so many customers who have nothing else."""
        vault = Vault(self.now())
        ids = [new_customer_id() for _ in range(customers)]
        rows = [(each, vault.wrap(each, CustomerKey.new())) for each in ids]
        async with self.postgres.transaction() as transaction:
            columns = ("customer_id", "wrapped")
            await transaction.copy_in("vault", "customer_key", columns, rows)

    def now(self) -> MasterKey:
        key = self.source.read()
        assert key is not None
        return key

    async def rotate(self) -> Rewrapped:
        key = await begin_rotation(self.postgres, self.source)
        done = await rewrap(self.postgres, key)
        assert await finish_rotation(self.postgres, self.source, key.wrapping[0])
        return done

    async def held(self) -> dict[CustomerId, bytes | None]:
        return dict(await self.postgres.fetch(lambda *row: row, HELD))


@pytest.fixture
async def world(database: str, tmp_path: Path) -> AsyncIterator[World]:
    source = KeySource(tmp_path / "master.key")
    async with Postgres.connect(database) as postgres:
        key = await provide_master_key(postgres, source)
        vault = Vault(key, source)
        appender, log = Appender(postgres, vault), EventLog(postgres, vault)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(appender.run())
            handler = CommandHandler(log, appender)
            yield World(postgres, source, key, log, appender, handler, count(1))
            appender.stop()


async def test_afterwards_the_new_key_opens_everything_and_the_old_one_nothing(
    world: World,
) -> None:
    jane, joe = await world.create(), await world.create()
    await world.handler.handle(a_request(joe, DeleteCustomer()))
    await world.hold(2 * BATCH_KEYS_MAX)
    events = await world.postgres.fetch(str, EVENTS)
    old_file = world.source.path.read_text()
    assert (await world.rotate()).count == 2 * BATCH_KEYS_MAX + 1
    assert await world.postgres.fetch(str, EVENTS) == events
    held = await world.held()
    assert held.pop(joe) is None
    old, new = Vault(world.key), Vault(world.now())
    for customer_id, wrapped in held.items():
        assert wrapped is not None
        new.unwrap(customer_id, wrapped)
        with pytest.raises(Unavailable):
            old.unwrap(customer_id, wrapped)
        with pytest.raises(Corrupt):
            world.key.wrapping[0].unwrap(customer_id, wrapped)
    assert len(world.now().wrapping) == 1
    assert old_file.strip() not in world.source.path.read_text()
    first, *_ = [each async for each in world.log.stream("default", jane)]
    assert "jane1@example.com" in repr(first.event)


async def test_what_was_answered_and_claimed_before_still_is(world: World) -> None:
    request = a_create_request("jane@example.com", key=Key("key-1", b"print", 201))
    before = await world.handler.handle(request)
    await world.rotate()
    vault = Vault(world.now())  # a process that knows the new key only
    handler = CommandHandler(EventLog(world.postgres, vault), world.appender)
    again = await handler.handle(request)
    assert (again.is_replayed, again.customer) == (True, before.customer)
    with pytest.raises(Conflict, match="email_taken"):
        await handler.handle(a_create_request("jane@example.com"))


async def test_a_rotation_can_follow_a_rotation(world: World) -> None:
    await world.hold(3)
    ids = [world.now().wrapping[0].id]
    for _ in range(3):
        assert (await world.rotate()).count == 3
        ids.append(world.now().wrapping[0].id)
    assert len(set(ids)) == 4
    assert world.now().fingerprint == world.key.fingerprint
    assert [path.name for path in world.source.path.parent.iterdir()] == ["master.key"]


async def test_before_the_first_customer_there_is_nothing_to_wrap(world: World) -> None:
    assert (await world.rotate()).count == 0
    await world.create()
    assert await count_keys(world.postgres, world.now().wrapping[0]) == (0, 1)


async def test_a_run_goes_on_with_a_broken_one(world: World) -> None:
    await world.hold(3)
    begun = await begin_rotation(world.postgres, world.source)
    assert begun.wrapping[1:] == world.key.wrapping
    assert (await world.rotate()).count == 3
    assert world.now().wrapping == begun.wrapping[:1]


async def test_a_run_that_broke_before_the_switch_goes_on(world: World) -> None:
    """The file has the new key, and the database takes the old one still."""
    await world.create()
    new = WrappingKey.new()
    world.source.replace(world.key.with_wrapping(new, *world.key.wrapping))
    vault = Vault(world.now(), world.source)  # a process that starts now
    appender = Appender(world.postgres, vault)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(appender.run())
        other = replace(world, handler=CommandHandler(EventLog(world.postgres, vault), appender))
        first = await other.create()
        held = (await world.held())[first]
        assert held is not None
        assert held.startswith(world.key.wrapping[0].id)
        await world.rotate()
        second = await other.create()
        held = (await world.held())[second]
        assert held is not None
        assert held.startswith(new.id)
        appender.stop()
    assert world.now().wrapping == (new,)


async def test_writers_and_readers_go_on(world: World) -> None:
    """One process, which is never told; each rotation makes its keys useless."""
    customers = [await world.create() for _ in range(20)]
    ended = asyncio.Event()

    async def write() -> int:
        done = 0
        while not ended.is_set():
            customer_id = await world.create()
            changes = CustomerChanges(first_name=f"Jane {done}")
            await world.handler.handle(a_request(customer_id, UpdateCustomer(changes)))
            done += 1
        return done

    async def read() -> int:
        done = 0
        while not ended.is_set():
            for each in customers:
                assert [event async for event in world.log.stream("default", each)]
            await world.log.page(Position(0))
            done += 1
        return done

    async with asyncio.TaskGroup() as tasks:
        at_work = [tasks.create_task(work()) for work in (write, write, write, read, read)]
        for _ in range(10):
            await world.rotate()
        ended.set()
    assert all(task.result() for task in at_work)
    assert (await count_keys(world.postgres, world.now().wrapping[0])).by_others == 0


async def test_runs_at_the_same_time_share_the_work(world: World) -> None:
    await world.hold(3 * BATCH_KEYS_MAX)

    async def run() -> Rewrapped:
        key = await begin_rotation(world.postgres, world.source)
        done = await rewrap(world.postgres, key)
        await finish_rotation(world.postgres, world.source, key.wrapping[0])
        return done

    done = await asyncio.gather(*(run() for _ in range(4)))
    assert sum(each.count for each in done) >= 3 * BATCH_KEYS_MAX
    assert [each.unopened for each in done] == [0] * 4
    assert len(world.now().wrapping) == 1
    vault = Vault(world.now())
    for customer_id, wrapped in (await world.held()).items():
        assert wrapped is not None
        vault.unwrap(customer_id, wrapped)


async def test_what_another_rotation_has_wrapped_stays(world: World) -> None:
    """A run that slept while another one ended, and a third began."""
    await world.hold(1)
    sleeping = await begin_rotation(world.postgres, world.source)
    present = sleeping.with_wrapping(WrappingKey.new(), *sleeping.wrapping)
    world.source.replace(present)
    await begin_rotation(world.postgres, world.source)
    held = await world.held()
    assert (await rewrap(world.postgres, sleeping)).count == 0
    assert not await finish_rotation(world.postgres, world.source, sleeping.wrapping[0])
    assert await world.held() == held
    assert world.now().wrapping == present.wrapping


async def test_the_old_keys_stay_where_another_wraps_now(world: World) -> None:
    """Though nobody has a key yet: the next customer's would be wrapped by one that is gone."""
    key = await begin_rotation(world.postgres, world.source)
    target = key.wrapping[0]
    assert await is_rotated(world.postgres, key, target)
    await world.postgres.execute(SQL["switch_wrapping_key"], key.wrapping[1].id)
    assert not await is_rotated(world.postgres, key, target)
    assert not await finish_rotation(world.postgres, world.source, target)
    assert world.now().wrapping == key.wrapping


async def test_who_is_deleted_meanwhile_stays_forgotten(world: World, database: str) -> None:
    jane = await world.create()
    await world.hold(1)
    key = await begin_rotation(world.postgres, world.source)
    async with Postgres.connect(database) as other:
        async with other.transaction() as deletion:
            await deletion.execute(DESTROY, jane)
            rewrapping = asyncio.create_task(rewrap(world.postgres, key))
            await eventually(lambda: _waits(world.postgres))
        assert (await rewrapping).count == 1
    assert (await world.held())[jane] is None


async def _waits(postgres: Postgres) -> bool:
    return await postgres.fetch_one(int, LOCK_WAITS) == 1


@pytest.mark.parametrize(
    "damage",
    [lambda _: b"", lambda whole: whole[:-1] + b"?", lambda whole: b"?" * 8 + whole[8:]],
    ids=["empty", "one byte", "an unknown key"],
)
async def test_what_does_not_open_is_left_and_keeps_the_old_key(
    damage: Callable[[bytes], bytes], world: World
) -> None:
    jane = await world.create()
    whole = (await world.held())[jane]
    assert whole is not None
    damaged = damage(whole)
    await world.hold(2)
    await world.postgres.execute(SET, jane, damaged)
    key = await begin_rotation(world.postgres, world.source)
    done = await rewrap(world.postgres, key)
    assert (done.count, done.unopened, done.named) == (2, 1, [jane])
    assert (await world.held())[jane] == damaged
    assert not await finish_rotation(world.postgres, world.source, key.wrapping[0])
    assert world.now().wrapping == key.wrapping
    await world.postgres.execute(SET, jane, whole)
    assert (await world.rotate()).count == 1
    assert world.now().wrapping == key.wrapping[:1]


async def test_a_key_that_was_rotated_elsewhere_is_refused(world: World, tmp_path: Path) -> None:
    await world.create()
    other = KeySource(tmp_path / "copy.key")
    other.keep_aside(world.now())
    before = other.path.read_bytes()
    await world.rotate()
    with pytest.raises(ConfigurationError, match="last in use with this database"):
        await begin_rotation(world.postgres, other)
    stranger = KeySource(tmp_path / "stranger.key")
    stranger.create()
    with pytest.raises(ConfigurationError, match="is not the one this database was used with"):
        await begin_rotation(world.postgres, stranger)
    assert other.path.read_bytes() == before


async def test_a_database_without_a_key_is_refused(world: World) -> None:
    await world.postgres.execute("DELETE FROM access.master_key")
    before = world.source.path.read_bytes()
    with pytest.raises(ConfigurationError, match="run `customers migrate`"):
        await begin_rotation(world.postgres, world.source)
    assert world.source.path.read_bytes() == before


async def test_a_run_that_waited_for_another_takes_up_its_key(world: World, database: str) -> None:
    await world.hold(1)
    new = WrappingKey.new()
    async with Postgres.connect(database) as other:
        async with other.transaction() as first:
            await lock_master_key(first)
            beginning = asyncio.create_task(begin_rotation(world.postgres, world.source))
            await eventually(lambda: _waits(world.postgres))
            world.source.replace(world.key.with_wrapping(new, *world.key.wrapping))
        assert (await beginning).wrapping[0] == new
    assert world.now().wrapping == (new, *world.key.wrapping)


async def test_the_switch_waits_for_the_write_that_is_under_way(
    world: World, database: str
) -> None:
    """Else that one would bring a key that the old one wraps, after all others were wrapped."""
    await world.hold(1)
    async with Postgres.connect(database) as other:
        async with other.transaction() as append:
            await append.execute(SQL["lock_append"])
            beginning = asyncio.create_task(begin_rotation(world.postgres, world.source))
            await eventually(lambda: _waits(world.postgres))
            await append.execute(SQL["switch_wrapping_key"], world.key.wrapping[0].id)
        target = (await beginning).wrapping[0]
        assert await other.fetch(bool, SQL["is_wrapping"], [target.id]) == [True]


async def test_a_rotation_that_stands_still_holds_up_no_write(
    world: World, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where its process is stopped, or the machine sleeps: between two statements."""
    await world.hold(1)
    reached, is_over, original = asyncio.Event(), asyncio.Event(), Transaction.execute

    async def execute(self: Transaction, sql: str, *arguments: object) -> str:
        done = await original(self, sql, *arguments)
        if sql == SQL["lock_append"] and not reached.is_set():
            reached.set()
            await is_over.wait()
        return done

    monkeypatch.setattr(Transaction, "execute", execute)
    monkeypatch.setattr("service.vault.rotation.PAUSE_SECONDS", 0.01)
    async with Postgres.connect(database) as other:
        beginning = asyncio.create_task(begin_rotation(other, world.source))
        try:
            await reached.wait()
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                await world.create()
        finally:
            is_over.set()
        key = await beginning
    assert world.now().wrapping == key.wrapping
    assert [each.id for each in key.wrapping[1:]] == [world.key.wrapping[0].id]
    assert await world.postgres.fetch(bool, SQL["is_wrapping"], [key.wrapping[0].id]) == [True]
    assert (await world.rotate()).count == 2


def a_deletion(customer_id: CustomerId) -> Append:
    return a_change(customer_id, 1, CustomerDeleted())._replace(closes_stream=True)


async def test_the_writes_of_a_batch_survive_a_deadlock(world: World, database: str) -> None:
    """One of them waits for a key that somebody holds who waits for another of them."""
    first, last = sorted([await world.create(), await world.create()])
    batch = [a_creation("new@example.com"), a_deletion(first), a_deletion(last)]
    async with Postgres.connect(database) as other:
        async with other.transaction() as holder:
            await holder.execute("SET LOCAL deadlock_timeout = '60s'")  # the batch gives way
            await holder.fetch(str, LOCK_KEY, last)
            writing = [asyncio.create_task(world.appender.append(each)) for each in batch]
            await eventually(lambda: _waits(world.postgres))
            await holder.fetch(str, LOCK_KEY, first)
        answers = await asyncio.gather(*writing)
    assert [type(each) for each in answers] == [Appended] * 3
    held = await world.held()
    assert (held[first], held[last]) == (None, None)
    positions = [event.position for event in await world.log.page(Position(0))]
    assert positions == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("state", ["40P01", "40001"])
async def test_what_was_rolled_back_for_others_is_written_again(world: World, state: str) -> None:
    await world.postgres.execute(ROLLS_BACK.format(times=2, state=state))
    batch = [a_creation(f"{number}@example.com") for number in range(20)]
    answers = await asyncio.gather(*(world.appender.append(each) for each in batch))
    assert [type(each) for each in answers] == [Appended] * 20
    assert len(await world.log.page(Position(0))) == 20


async def test_what_is_rolled_back_again_and_again_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.appender.deadlines.WRITE_TIMEOUT_SECONDS", 0.3)
    await world.postgres.execute(ROLLS_BACK.format(times=1_000_000, state="40P01"))
    with pytest.raises(Unavailable, match="was not confirmed") as raised:
        await world.appender.append(a_creation("jane@example.com"))
    assert type(raised.value) is Unavailable
    await world.postgres.execute("DROP TRIGGER rolls_back ON log.event")
    monkeypatch.undo()
    assert isinstance(await world.appender.append(a_creation("jane@example.com")), Appended)


async def test_a_rotation_and_deletions_take_keys_in_one_order(world: World, database: str) -> None:
    """Neither holds a later one while it waits for an earlier one: there is no circle."""
    customers = sorted([await world.create() for _ in range(5)])
    key = await begin_rotation(world.postgres, world.source)
    held, backwards = await world.held(), customers[::-1]
    wrapped = [held[each] for each in backwards]
    arguments = key.wrapping[0].id, backwards, wrapped, [b"new"] * len(backwards)

    async def free() -> list[str]:
        async with other.transaction() as looking:
            return await looking.fetch(str, UNLOCKED, customers)

    async with Postgres.connect(database) as other, Postgres.connect(database) as third:
        async with third.transaction() as holder:
            await holder.fetch(str, LOCK_KEY, customers[2])
            rewrapping = asyncio.create_task(
                world.postgres.fetch(str, SQL["replace_wrapped"], *arguments)
            )
            await eventually(lambda: _waits(world.postgres))
            assert await free() == customers[3:]
        assert sorted(await rewrapping) == customers
        async with third.transaction() as holder:
            await holder.fetch(str, LOCK_KEY, customers[2])
            deleting = asyncio.gather(
                *(world.appender.append(a_deletion(each)) for each in backwards)
            )
            await eventually(lambda: _waits(world.postgres))
            assert await free() == customers[3:]
        await deleting
