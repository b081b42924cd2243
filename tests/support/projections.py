"""What the read model must show of any events, worked out another way than the projection does.

Invariant: the expectation folds whole streams with service.customer, the model of the domain, and
knows nothing of batches, versions that were seen before, or of what was shown until then.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from hashlib import blake2b
from random import Random
from typing import Any
from uuid import UUID

import orjson

from projections.applier import Applier
from projections.checkpoint import Checkpoints
from projections.feed import Source
from projections.log_feed import LogSource
from projections.observing import NoMetrics
from projections.runner import Runner
from projections.store import Store
from projections.versions import Served, active, schema_of
from service.appender import Appender
from service.customer import (
    AddAddress,
    AddTags,
    Command,
    CreateCustomer,
    Customer,
    DeleteCustomer,
    RemoveAddress,
    RemoveTags,
    UpdateAddress,
    UpdateCustomer,
    decide,
    evolve,
    fold,
)
from service.documents import list_item
from service.errors import NotFound, Rejected
from service.event_log import Append, Appended, EventLog, StoredEvent
from service.events import (
    Address,
    CustomerChanges,
    CustomerDeleted,
    Event,
    MetadataValue,
    Order,
    OrderRecorded,
    Position,
    RecordedEvent,
    Version,
    decode,
    encode,
)
from service.folding import grams, search_words, sort_key, tag_key
from service.identifiers import AddressId, CustomerId
from service.postgres import Postgres
from service.vault import Vault
from tests.support.histories import META, MOMENT
from tests.support.logs import appending
from tests.support.topics import eventually
from tests.support.vaults import VAULT

CURRENCIES = {"default": "USD", "other": "EUR"}
NAMES = ("Jane", "Zoë", "Ångström", 'O\'Hara "JJ"', "李", "ﬁnch\x1f", "x" * 40, None)
PERSONAL_TYPES = frozenset(
    f"customer.{name}" for name in ("created", "updated", "address_added", "address_updated")
)
TAGS = ("vip", "VIP", "Straße", "early-adopter", "wholesale", "a b")
VALUES: tuple[MetadataValue, ...] = (
    *("text", "", 1, 0, -1, 2**53, 2**64, 10**30, 1.0, 0.1, 1e22, 1e-7, -0.0, 1.5e300),
    *(True, False),
)


@dataclass
class ReadModel:
    """The rows of all tables, tags by their names; counts without those that are zero."""

    customers: dict[str, tuple[str, int, int, str | None, str | None]] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)  # of deleted customers
    anonymous: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    profiles: dict[str, tuple[object, ...]] = field(default_factory=dict)
    activities: dict[str, tuple[object, ...]] = field(default_factory=dict)
    searches: dict[str, tuple[str, str, frozenset[int]]] = field(default_factory=dict)
    tagged: set[tuple[str, str, datetime, str]] = field(default_factory=set)
    counts: Counter[tuple[str, str, bool]] = field(default_factory=Counter)
    days: Counter[tuple[str, date]] = field(default_factory=Counter)
    orders: dict[tuple[str, str], tuple[object, ...]] = field(default_factory=dict)


def expected(events: Iterable[RecordedEvent]) -> ReadModel:
    """What must be shown once all of these are applied, whatever the batches."""
    streams: dict[str, list[RecordedEvent]] = {}
    for event in events:
        streams.setdefault(event.customer_id, []).append(event)
    model = ReadModel()
    for stream in streams.values():
        customer = fold(stream)
        assert customer is not None
        _expect(model, stream, customer)
    return model


def _expect(model: ReadModel, stream: Sequence[RecordedEvent], customer: Customer) -> None:
    tenant, last = stream[-1].tenant, stream[-1]
    document = customer.document(CURRENCIES[tenant])
    whole = None if customer.is_deleted else document.json_bytes().decode()
    item = None if customer.is_deleted else list_item(document).json_bytes().decode()
    model.customers[customer.id] = (tenant, last.version, last.position, whole, item)
    owner = str(customer.id)
    for each in stream:
        if isinstance(each.event, CustomerDeleted):
            owner = "anon_" + blake2b(each.id.encode(), digest_size=16).hexdigest()
            model.references[customer.id] = owner
            model.anonymous[owner] = (tenant, each.time)
    for each in stream:
        if isinstance(each.event, OrderRecorded):
            order = each.event.order
            held = customer.orders[order.order_id]
            state = order.model_dump_json(by_alias=True)
            model.orders[owner, order.order_id] = (
                *(order.order_version, held.currency, held.amount, held.is_countable),
                *(held.placed_at, state),
            )
    if customer.is_deleted:
        return
    tags = frozenset(map(tag_key, customer.tags))
    names = (customer.first_name, customer.last_name)
    model.profiles[customer.id] = (
        *(tenant, customer.created_at, customer.email, sort_key(customer.email)),
        *(None if name is None else sort_key(name) for name in names),
        *(customer.is_active, tags),
    )
    last_order_at = document.last_order_at
    if last_order_at is not None:
        last_order_at = last_order_at.astimezone(UTC)
        last_order_at = last_order_at.replace(microsecond=last_order_at.microsecond // 1000 * 1000)
    model.activities[customer.id] = (
        *(tenant, document.total_spent, document.order_count, customer.updated_at, last_order_at),
        *(customer.is_active, tags),
    )
    words = search_words(*names, customer.email)
    model.searches[customer.id] = (tenant, words, frozenset(grams(words, tenant)))
    model.tagged |= {(tenant, tag, customer.created_at, customer.id) for tag in tags}
    model.counts.update((tenant, tag, customer.is_active) for tag in ("", *tags))
    model.days[tenant, customer.created_at.date()] += 1


def a_history(
    choose: Random, *, steps: int, customers: int = 4, deletion_share: float = 0.0
) -> list[RecordedEvent]:
    """Any history that can come about, of some customers in two tenants."""
    history: list[RecordedEvent] = []
    states: dict[str, Customer] = {}
    for event_tenant, customer_id, event in _happenings(
        choose, steps, customers, states, deletion_share
    ):
        state = states.get(customer_id)
        recorded = RecordedEvent(
            position=Position(len(history) + 1),
            key=UUID(int=len(history) + 1).bytes,
            tenant=event_tenant,
            customer_id=CustomerId(customer_id),
            version=Version((state.version if state else 0) + 1),
            time=MOMENT + timedelta(hours=7 * len(history), milliseconds=len(history)),
            event=decode(event.type, event.schema_version, encode(event)),
            meta=META,
        )
        states[customer_id] = evolve(state, recorded)
        history.append(recorded)
    return history


def _happenings(
    choose: Random,
    steps: int,
    customers: int,
    states: Mapping[str, Customer],
    deletion_share: float,
) -> Iterator[tuple[str, str, Event]]:
    for _ in range(steps):
        number = choose.randrange(customers)
        customer_id, tenant = f"cust_{number}", ("default", "other")[number % 2]
        state = states.get(customer_id)
        if state is not None and not state.is_deleted and choose.random() < deletion_share:
            yield tenant, customer_id, CustomerDeleted()
            continue
        for event in _what_happens(choose, customer_id, state):
            yield tenant, customer_id, event


def _what_happens(choose: Random, customer_id: str, state: Customer | None) -> tuple[Event, ...]:
    if state is not None and choose.random() < 0.4:
        return (OrderRecorded(order=_an_order(choose, state)),)
    try:
        return decide(state, _a_command(choose, CustomerId(customer_id), state))
    except (NotFound, Rejected):
        return ()


def _an_order(choose: Random, state: Customer) -> Order:
    """A new order, or the next version of one: versions rise with the stream's."""
    total = choose.randrange(-5, 10_000)
    return Order(
        order_id=f"ord_{choose.randrange(3)}",
        order_version=state.version,
        status=choose.choice(("pending", "placed", "paid", "completed", "cancelled", "failed")),
        currency=choose.choice(("USD", "EUR", "JPY")),
        total=total,
        captured=choose.choice((None, 0, total // 2)),
        refunded=choose.choice((None, 0, 100, total)),
        placed_at=MOMENT + timedelta(microseconds=choose.randrange(10**7)),
        test=choose.random() < 0.1,
    )


def _a_command(choose: Random, customer_id: CustomerId, state: Customer | None) -> Command:
    if state is None:
        return CreateCustomer(
            id=customer_id,
            email=f"{customer_id}@example.com",
            first_name=choose.choice(NAMES),
            last_name=choose.choice(NAMES),
            phone=choose.choice((None, "+1-555-0123")),
            tags=_some_tags(choose),
            metadata=_some_metadata(choose),
            addresses=tuple(_an_address(choose) for _ in range(choose.randrange(3))),
            is_active=choose.random() < 0.8,
        )
    match choose.randrange(8):
        case 0:
            return AddTags(_some_tags(choose))
        case 1:
            return RemoveTags(_some_tags(choose))
        case 2:
            return AddAddress(_an_address(choose))
        case 3 if state.addresses:
            held = choose.choice(state.addresses)
            changes = {"city": choose.choice(("Oslo", "Rome")), "is_default": True}
            return UpdateAddress(held.id, changes)
        case 4 if state.addresses:
            return RemoveAddress(choose.choice(state.addresses).id)
        case 5 if choose.random() < 0.3:
            return DeleteCustomer()
        case _:
            return _an_update(choose, customer_id)


def _an_update(choose: Random, customer_id: CustomerId) -> UpdateCustomer:
    fields: dict[str, str | None] = {}
    if choose.random() < 0.3:
        fields["email"] = f"{customer_id}.{choose.randrange(3)}@example.com"
    if choose.random() < 0.4:
        fields["first_name"] = choose.choice(NAMES)
    if choose.random() < 0.4:
        fields["phone"] = choose.choice((None, "+1-555-0199"))
    return UpdateCustomer(
        changes=CustomerChanges.model_validate(fields),
        metadata=_some_metadata(choose) if choose.random() < 0.4 else None,
        clear_metadata=choose.random() < 0.1,
        tags=_some_tags(choose) if choose.random() < 0.3 else None,
        is_active=choose.choice((None, True, False)),
    )


def _some_tags(choose: Random) -> tuple[str, ...]:
    return tuple(choose.choice(TAGS) for _ in range(choose.randrange(4)))


def _some_metadata(choose: Random) -> dict[str, MetadataValue]:
    return {
        choose.choice(("segment", "source", "bb", "a")): choose.choice(VALUES)
        for _ in range(choose.randrange(3))
    }


def _an_address(choose: Random) -> Address:
    return Address(
        id=AddressId(f"addr_{choose.randrange(10**6)}"),
        label=choose.choice((None, "Home", 'The "Office"')),
        line1="456 Oak Ave",
        city="Portland",
        postal_code=choose.choice((None, "97201")),
        country="US",
        is_default=choose.random() < 0.3,
    )


async def shown(postgres: Postgres) -> ReadModel:
    """What the tables say, through the views that readers look at."""
    model, number = ReadModel(), (await active(postgres)).version
    for row in await postgres.fetch(
        _row, "SELECT id, tenant, version, position, document, item FROM read_model.customer"
    ):
        model.customers[row[0]] = row[1:]
    model.references = dict(
        await postgres.fetch(
            _row,
            f"SELECT id, anonymous_reference FROM {schema_of(number)}.customer"  # noqa: S608
            " WHERE anonymous_reference IS NOT NULL",
        )
    )
    for row in await postgres.fetch(
        _row, "SELECT reference, tenant, deleted_at FROM read_model.anonymous"
    ):
        model.anonymous[row[0]] = row[1:]
    tags = dict(await postgres.fetch(_row, "SELECT id, name FROM read_model.tag"))
    for row in await postgres.fetch(
        _row,
        "SELECT id, tenant, created_at, email, email_key, first_key, last_key, is_active, tags"
        " FROM read_model.profile",
    ):
        model.profiles[row[0]] = (*row[1:8], frozenset(tags[tag] for tag in row[8]))
    for row in await postgres.fetch(
        _row,
        "SELECT id, tenant, total_spent, order_count, updated_at, last_order_at, is_active, tags"
        " FROM read_model.activity",
    ):
        model.activities[row[0]] = (*row[1:7], frozenset(tags[tag] for tag in row[7]))
    for row in await postgres.fetch(_row, "SELECT id, tenant, words, grams FROM read_model.search"):
        model.searches[row[0]] = (row[1], row[2], frozenset(row[3]))
    model.tagged = set(
        await postgres.fetch(
            _row,
            "SELECT tag.tenant, tag.name, tagged.created_at, tagged.id"
            " FROM read_model.tagged JOIN read_model.tag ON tag.id = tagged.tag",
        )
    )
    for row in await postgres.fetch(
        _row, "SELECT tenant, tag, is_active, count FROM read_model.counter WHERE count <> 0"
    ):
        model.counts[row[0], tags.get(row[1], ""), row[2]] = row[3]
    for row in await postgres.fetch(
        _row, "SELECT tenant, day, count FROM read_model.day WHERE count <> 0"
    ):
        model.days[row[0], row[1]] = row[2]
    for row in await postgres.fetch(
        _row,
        "SELECT customer_id, order_id, order_version, currency, amount, is_countable, placed_at,"
        " order_state FROM read_model.contribution",
    ):
        model.orders[row[0], row[1]] = row[2:]
    return model


def _row(*columns: Any) -> tuple[Any, ...]:
    return columns


BLANKS: Mapping[str, object] = {
    **dict.fromkeys(("email", "line1", "city"), ""),
    **dict.fromkeys(("firstName", "lastName", "phone", "label", "state", "postalCode")),
    "metadata": {},
}


def blank(event: StoredEvent) -> StoredEvent:
    """The event as it is read once its customer's key is destroyed."""
    data = _blanked(orjson.loads(event.data))
    return event._replace(data=orjson.dumps(data).decode(), is_forgotten=True)


def _blanked(data: Any) -> Any:
    if isinstance(data, list):
        return [_blanked(each) for each in data]
    if isinstance(data, dict):
        return {name: BLANKS.get(name, _blanked(value)) for name, value in data.items()}
    return data


def as_read_later(events: Sequence[StoredEvent]) -> list[StoredEvent]:
    """The log as it is read after all of its deletions; the rest is not blank."""
    ends = {each.customer_id: each.version for each in events if each.type == CustomerDeleted.type}
    return [
        blank(each)
        if each.version < ends.get(each.customer_id, 0) and each.type in PERSONAL_TYPES
        else each
        for each in events
    ]


async def recorded_events(postgres: Postgres, vault: Vault = VAULT) -> list[RecordedEvent]:
    """The whole log."""
    log = EventLog(postgres, vault)
    events: list[RecordedEvent] = []
    while page := await log.page(Position(len(events))):
        events += [each.decoded() for each in page]
    return events


async def append_history(
    appender: Appender, history: Sequence[RecordedEvent], *, prefix: str = ""
) -> list[RecordedEvent]:
    """Put a history into the log: each stream in its order, the streams side by side. The events
    as they were told to who wrote them."""
    streams: dict[str, list[RecordedEvent]] = {}
    for event in history:
        streams.setdefault(event.customer_id, []).append(event)
    told = await asyncio.gather(*(_append(appender, each, prefix) for each in streams.values()))
    return [event for stream in told for event in stream]


def in_clear(page: Iterable[StoredEvent], told: Iterable[RecordedEvent]) -> list[StoredEvent]:
    """A page as it was read before any deletion."""
    data = {event.position: encode(event.event) for event in told}
    return [each._replace(data=data[each.position], is_forgotten=False) for each in page]


async def _append(
    appender: Appender, stream: Sequence[RecordedEvent], prefix: str
) -> list[RecordedEvent]:
    told: list[RecordedEvent] = []
    for event in stream:
        appended = await appender.append(
            Append(
                event.tenant,
                CustomerId(prefix + event.customer_id),
                Version(event.version - 1),
                (event.event,),
                META,
                closes_stream=isinstance(event.event, CustomerDeleted),
            )
        )
        assert isinstance(appended, Appended)
        told += appended.events
    return told


class Observed(NoMetrics):
    """What a worker told about itself."""

    def __init__(self) -> None:
        self.events = 0
        self.repeats = 0
        self.bridged = 0
        self.reasons: list[str] = []
        self.parked_customers = 0
        self.failures: list[str] = []
        self.lag: tuple[int, int, float] = (0, 0, 0.0)

    def applied(self, events: int) -> None:
        self.events += events

    def skipped(self, events: int) -> None:
        self.repeats += events

    def healed(self, events: int) -> None:
        self.bridged += events

    def parked(self, reason: str) -> None:
        self.reasons.append(reason)

    def parked_now(self, customers: int) -> None:
        self.parked_customers = customers

    def failed(self, code: str) -> None:
        self.failures.append(code)

    def progress(self, position: int, lag_events: int, lag_seconds: float) -> None:
        self.lag = position, lag_events, lag_seconds


@dataclass
class Projected:
    """A log, its read model, and what a test does to them."""

    postgres: Postgres
    appender: Appender
    observed: Observed = field(default_factory=Observed)

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.postgres, self.served)

    @cached_property
    def served(self) -> Served:
        """For one worker, and for looking; others have one of their own."""
        return Served(self.postgres)

    def applier(self, served: Served | None = None) -> Applier:
        store = Store(self.postgres, served or self.served)
        return Applier(store, EventLog(self.postgres, VAULT), self.observed)

    def runner(self, source: Source | None = None, *, batch_events_max: int = 100) -> Runner:
        served = Served(self.postgres) if source is None else self.served
        checkpoints = Checkpoints(self.postgres, served)
        return Runner(
            source
            or LogSource(
                self.postgres,
                EventLog(self.postgres, VAULT),
                checkpoints,
                batch_events_max=batch_events_max,
                standby_seconds=0.05,
            ),
            self.applier(served),
            EventLog(self.postgres, VAULT),
            checkpoints,
            metrics=self.observed,
        )

    async def is_up_to_date(self) -> bool:
        await self.served.follow()
        head = await EventLog(self.postgres).head()
        return await self.checkpoints.position() == head.position

    async def catch_up(self, source: Source | None = None) -> None:
        async with running(self.runner(source)):
            await eventually(self.is_up_to_date)

    async def assert_exact(self) -> None:
        assert await shown(self.postgres) == expected(await recorded_events(self.postgres))


@asynccontextmanager
async def projected(database_url: str) -> AsyncIterator[Projected]:
    async with Postgres.connect(database_url) as postgres, appending(postgres) as appender:
        for tenant, currency in CURRENCIES.items():
            await postgres.execute(
                "INSERT INTO access.tenant (name, currency) VALUES ($1, $2)", tenant, currency
            )
        yield Projected(postgres, appender)


@asynccontextmanager
async def running(*runners: Runner) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        for runner in runners:
            tasks.create_task(runner.run())
        try:
            yield
        finally:
            for runner in runners:
                runner.stop()
