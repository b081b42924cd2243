"""What must hold at the end of it all: the log, the answers, Kafka and the read model agree.

Invariant: nothing here asks the parts under test how they are doing; the log is read as it lies,
the topic with another client library, and the read model is compared with a fold of the log.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import orjson

from service.customer import Customer, evolve
from service.documents import list_item
from service.events import RecordedEvent, encode
from service.kafka import ConsumedRecord, ReceivedEvent, Watermark, received
from service.postgres import Postgres
from service.vault import blanked
from tests.support.projections import expected, recorded_events, shown
from tests.support.topics import eventually, read_topic
from tests.system.installation import Installation, Role
from tests.system.traffic import Answer, Ledger, Write

CAUGHT_UP_WITHIN_SECONDS = 45.0
CURRENCY = "USD"


async def check_everything(system: Installation, api: Role, ledger: Ledger) -> None:
    """Waits until the read model is where the log is."""
    async with Postgres.connect(system.database_url, pool_size_max=2) as postgres:
        events = await recorded_events(postgres, system.vault)
        check_log(events)
        check_writes(ledger.writes, events)
        await eventually(lambda: _shows(system, api, len(events)), CAUGHT_UP_WITHIN_SECONDS)
        assert await shown(postgres) == expected(events)
    records = await read_topic(system.bootstrap_servers, system.events_topic)
    check_topic(records, events)
    if system.delivers_once:
        assert len(records) == len(list(_chained(records))), "something was delivered twice"
    await check_lists(system, api, events)
    assert 500 not in ledger.statuses


async def _shows(system: Installation, api: Role, position: int) -> bool:
    url = f"{api.url}/user?display=1&minPosition={position}"
    async with system.session.get(url, headers=system.headers) as answer:
        assert answer.status in {200, 503}, await answer.text()
        return answer.status == 200


def check_log(events: Sequence[RecordedEvent]) -> None:
    """Positions are 1..N; every stream's versions are 1..n in the order of positions."""
    assert [event.position for event in events] == list(range(1, len(events) + 1))
    for stream in _by_customer(events).values():
        assert [event.version for event in stream] == list(range(1, len(stream) + 1))
    assert all(before.time <= after.time for before, after in pairwise(events))
    emails = [customer.email for customer in living(events)]
    assert len(emails) == len(set(emails))


def check_writes(writes: Iterable[Write], events: Sequence[RecordedEvent]) -> None:
    """What was acknowledged is there once, as answered; nothing else is there."""
    requested: dict[str, list[RecordedEvent]] = defaultdict(list)
    for event in events:
        requested[event.meta.request_id].append(event)
    states = _states(events)
    for write in writes:
        found = [requested.pop(each) for each in write.request_ids if each in requested]
        assert len(found) <= 1, f"carried out {len(found)} times: {write}"
        if not write.is_acknowledged or not write.changes:
            assert found == [], f"left a trace: {write}"
        else:
            assert len(found) == 1, f"acknowledged and lost: {write}"
            _check_answers(write, found[0], states)
    assert not requested, "the log holds what nobody asked for"


def _check_answers(
    write: Write, events: Sequence[RecordedEvent], states: Mapping[tuple[str, int], Customer]
) -> None:
    """Every sender was answered the same: the state right after the write's own events."""
    first, last = events[0], events[-1]
    assert [event.position for event in events] == list(range(first.position, last.position + 1))
    assert {event.customer_id for event in events} == {last.customer_id}
    if write.if_match is not None:
        assert first.version == write.if_match + 1
    for answer in write.answers:
        assert (answer.position, answer.version) == (last.position, last.version), write
        assert answer.status == write.answers[0].status
        _check_body(answer, states[last.customer_id, last.version])
    assert sum(not answer.is_replayed for answer in write.answers) <= 1


def _check_body(answer: Answer, customer: Customer) -> None:
    if answer.status == 204:
        return
    body = json.loads(answer.body)
    if body["id"] == customer.id:
        shown = json.loads(customer.document(CURRENCY).json_bytes())
        assert (_without_person(body) if not customer.email else body) == shown
    else:
        addresses = [address.model_dump(by_alias=True) for address in customer.addresses]
        assert (_without_person(body) if not customer.email else body) in addresses


def _without_person(body: dict[str, object]) -> dict[str, object]:
    """An answer from before a deletion, as the log still tells it: no field says who it was."""
    blanks = {"email": "", "line1": "", "city": "", "metadata": {}}
    names = ("firstName", "lastName", "phone", "label", "state", "postalCode")
    left = {**body, **{name: None for name in names if name in body}}
    left |= {name: blank for name, blank in blanks.items() if name in body}
    if isinstance(addresses := body.get("addresses"), list):
        left["addresses"] = [_without_person(each) for each in addresses]
    return left


def check_topic(records: Sequence[ConsumedRecord], events: Sequence[RecordedEvent]) -> None:
    """Repeats left out, every event is there once, in order, and no chain is broken."""
    published = [each for each in _chained(records) if isinstance(each, ReceivedEvent)]
    in_order = sorted(published, key=lambda event: event.position)
    forgotten = {event.position for event in events if event.is_forgotten}
    found = [_identity(event, is_forgotten=event.position in forgotten) for event in in_order]
    assert found == [_recorded(event) for event in events]
    versions: dict[str, list[int]] = defaultdict(list)
    partitions: dict[str, set[int]] = defaultdict(set)
    for event in published:  # by partition and offset
        versions[event.customer_id].append(event.version)
        partitions[event.customer_id].add(event.partition)
    assert all(each == list(range(1, len(each) + 1)) for each in versions.values())
    assert all(len(each) == 1 for each in partitions.values())


def _chained(records: Sequence[ConsumedRecord]) -> Iterable[ReceivedEvent | Watermark]:
    """Each record once; fails where one does not name the one before it in its partition."""
    seen: dict[int, list[int]] = defaultdict(lambda: [0])
    for record in records:
        each = received(record)
        assert each is not None
        positions = seen[record.partition]
        if each.position in positions:
            continue
        assert each.previous_position == positions[-1] < each.position, (record, positions[-1])
        positions.append(each.position)
        yield each


def _identity(event: ReceivedEvent, *, is_forgotten: bool) -> tuple[object, ...]:
    """Of an event whose customer was deleted since, what the log still has of it."""
    text = event.data.decode()
    data = orjson.loads((is_forgotten and blanked(event.type, text)) or text)
    return (
        event.position,
        event.id,
        event.customer_id,
        event.version,
        event.type,
        event.time,
        data,
    )


def _recorded(event: RecordedEvent) -> tuple[object, ...]:
    data = orjson.loads(encode(event.event))
    kind = event.event.type
    return (event.position, event.id, event.customer_id, event.version, kind, event.time, data)


async def check_lists(system: Installation, api: Role, events: Sequence[RecordedEvent]) -> None:
    """Page by page, the list shows exactly the living customers, as the fold says they are."""
    items: list[object] = []
    parameters = {"display": "100", "minPosition": str(len(events))}
    while True:
        url = f"{api.url}/user"
        async with system.session.get(url, params=parameters, headers=system.headers) as answer:
            assert answer.status == 200, await answer.text()
            page = await answer.json()
        items += page["models"]
        if page["nextCursor"] is None:
            break
        parameters["cursor"] = page["nextCursor"]
    newest_first = sorted(living(events), key=lambda each: (each.created_at, each.id), reverse=True)
    documents = [list_item(customer.document(CURRENCY)) for customer in newest_first]
    assert page["count"] == len(documents)
    assert items == [json.loads(document.json_bytes()) for document in documents]


def living(events: Iterable[RecordedEvent]) -> list[Customer]:
    """The customers that there are after these events."""
    latest: dict[str, Customer] = {}
    for event in events:
        latest[event.customer_id] = evolve(latest.get(event.customer_id), event)
    return [customer for customer in latest.values() if not customer.is_deleted]


def _states(events: Iterable[RecordedEvent]) -> dict[tuple[str, int], Customer]:
    """Every customer at every version."""
    states: dict[tuple[str, int], Customer] = {}
    for event in events:
        before = states.get((event.customer_id, event.version - 1))
        states[event.customer_id, event.version] = evolve(before, event)
    return states


def _by_customer(events: Iterable[RecordedEvent]) -> Mapping[str, list[RecordedEvent]]:
    streams: dict[str, list[RecordedEvent]] = defaultdict(list)
    for event in events:
        streams[event.customer_id].append(event)
    return streams
