"""A subscriber with a client library that is not ours, and nothing of ours but the documents.

Invariant: this file reads records by what the contract says, never by this project's own mapping.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic

import confluent_kafka
import pytest
from jsonschema import Draft202012Validator

from tests.system.installation import Installation, Role

READ_TIMEOUT_SECONDS = 20.0
PARTITIONS = 6
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ADDRESS = {"line1": "456 Oak Ave", "city": "Portland", "country": "US"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
EVENT_HEADERS = {
    *("ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time", "ce_sequence"),
    *("ce_position", "ce_previousposition", "ce_epoch", "ce_tenant", "content-type"),
}
WATERMARK_HEADERS = EVENT_HEADERS - {"ce_subject", "ce_sequence", "ce_tenant"}
WATERMARK = "customer.watermark.v1"


@dataclass
class Published:
    """What one caller did, and what a subscriber then read."""

    system: Installation
    api: Role
    epoch: str
    position: int  # of the last event
    jane: str
    joe: str
    records: list[confluent_kafka.Message]

    @property
    def events(self) -> list[confluent_kafka.Message]:
        return [each for each in self.records if header(each, "ce_type") != WATERMARK]

    @property
    def watermarks(self) -> list[confluent_kafka.Message]:
        return [each for each in self.records if header(each, "ce_type") == WATERMARK]

    def of(self, customer_id: str) -> list[confluent_kafka.Message]:
        return [each for each in self.events if each.key() == customer_id.encode()]

    async def schema(self, name: str) -> Draft202012Validator:
        async with self.system.session.get(f"{self.api.url}/schemas/{name}.json") as answer:
            assert answer.status == 200
            schema = json.loads(await answer.read())
        Draft202012Validator.check_schema(schema)
        return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


@pytest.fixture(scope="module")
async def published(installation: Installation) -> Published:
    api, relay = installation.launch("api"), installation.launch("relay")
    await installation.until_ready(api, relay)
    jane, joe, (epoch, position) = await do_something_of_everything(installation, api)
    topic = installation.events_topic
    records = await asyncio.to_thread(
        read_up_to, installation.bootstrap_servers, topic, position=position
    )
    return Published(installation, api, epoch, position, jane, joe, records)


async def do_something_of_everything(
    system: Installation, api: Role
) -> tuple[str, str, tuple[str, int]]:
    """The ids of two customers; the log's epoch and the position of the last event."""

    async def send(method: str, path: str, body: object = None, **headers: str) -> dict[str, str]:
        url = api.url + path
        every = {**system.headers, **headers}
        async with system.session.request(method, url, json=body, headers=every) as answer:
            assert answer.status < 300, await answer.text()
            last.append((answer.headers["Log-Epoch"], int(answer.headers["Log-Position"])))
            return {} if answer.status == 204 else await answer.json()

    last: list[tuple[str, int]] = []
    created = await send("POST", "/user", {"email": "jane@example.com"}, traceparent=TRACEPARENT)
    jane = created["id"]
    joe = (await send("POST", "/user", {"email": "joe@example.com", "phone": "555 0123"}))["id"]
    await send("PUT", f"/user/{jane}", {"firstName": "Jane", "tags": ["vip"], "active": False})
    await send("PUT", f"/user/{jane}", {"tags": ["new"], "active": True, "metadata": {"a": 1}})
    address = await send("POST", f"/user/{jane}/address", ADDRESS)
    path = f"/user/{jane}/address/{address['id']}"
    await send("PUT", path, {"label": "Home", "postalCode": "97201"})
    await send("DELETE", path)
    servers, topic = system.bootstrap_servers, system.events_topic
    # What is published only after the deletion has forgotten him.
    await asyncio.to_thread(read_up_to, servers, topic, position=last[-1][1])
    await send("DELETE", f"/user/{joe}")
    return jane, joe, last[-1]


def read_up_to(servers: str, topic: str, *, position: int) -> list[confluent_kafka.Message]:
    """Read until every partition says that all up to `position` was published."""
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "reads-only",
            "isolation.level": "read_committed",
        }
    )
    begin = confluent_kafka.OFFSET_BEGINNING
    places = [
        confluent_kafka.TopicPartition(topic, partition, begin) for partition in range(PARTITIONS)
    ]
    consumer.assign(places)
    records: list[confluent_kafka.Message] = []
    reached = dict.fromkeys(range(PARTITIONS), 0)
    deadline = monotonic() + READ_TIMEOUT_SECONDS
    try:
        while min(reached.values()) < position:
            assert monotonic() < deadline, f"{position} was not reached: {reached}"
            record = consumer.poll(0.1)
            if record is not None:
                assert record.error() is None
                records.append(record)
                reached[record.partition()] = int(header(record, "ce_position"))
    finally:
        consumer.close()
    return records


def header(record: confluent_kafka.Message, name: str) -> str:
    return headers(record)[name]


def headers(record: confluent_kafka.Message) -> dict[str, str]:
    pairs = record.headers()
    found = {name: value.decode() for name, value in pairs}
    assert len(found) == len(pairs), "a header stands there twice"
    return found


async def test_every_customers_events_come_in_order(published: Published) -> None:
    prefix = "customer."
    assert [header(each, "ce_type") for each in published.of(published.jane)] == [
        prefix + name
        for name in (
            *("created.v1", "updated.v1", "tagged.v1", "deactivated.v1"),
            *("updated.v1", "tagged.v1", "untagged.v1", "reactivated.v1"),
            *("address_added.v1", "address_updated.v1", "address_removed.v1"),
        )
    ]
    joes = [header(each, "ce_type") for each in published.of(published.joe)]
    assert joes == [prefix + "created.v1", prefix + "deleted.v1"]
    for customer_id in (published.jane, published.joe):
        records = published.of(customer_id)
        sequences = [int(header(each, "ce_sequence")) for each in records]
        assert sequences == list(range(1, len(records) + 1))
        assert len({each.partition() for each in records}) == 1


async def test_every_event_is_a_cloud_event_in_binary_mode(published: Published) -> None:
    ids = [header(each, "ce_id") for each in published.events]
    assert all(each.startswith("evt_") for each in ids)
    assert len(set(ids)) == len(ids)
    positions = sorted(int(header(each, "ce_position")) for each in published.events)
    assert positions == list(range(1, published.position + 1))
    for each in published.events:
        found = headers(each)
        assert found.keys() - {"ce_traceparent"} == EVENT_HEADERS
        assert (found["ce_specversion"], found["content-type"]) == ("1.0", "application/json")
        assert found["ce_subject"] == each.key().decode()
        assert found["ce_source"] == "/customers"
        assert (found["ce_epoch"], found["ce_tenant"]) == (published.epoch, "default")
        assert TIME.fullmatch(found["ce_time"])


async def test_the_trace_of_a_request_goes_on(published: Published) -> None:
    traces = [headers(each).get("ce_traceparent") for each in published.of(published.jane)]
    assert traces == [TRACEPARENT] + [None] * (len(traces) - 1)
    assert "ce_traceparent" not in headers(published.of(published.joe)[0])


async def test_every_value_is_what_the_published_schema_says(published: Published) -> None:
    for each in published.records:
        schema = await published.schema(header(each, "ce_type"))
        value = json.loads(each.value())
        assert list(schema.iter_errors(value)) == []
        assert not schema.is_valid({**value, "extra": 1})
        assert not value or not schema.is_valid({})


async def test_every_record_names_the_one_before_it_in_its_partition(published: Published) -> None:
    for partition in range(PARTITIONS):
        last = 0
        for each in in_partition(published.records, partition):
            assert int(header(each, "ce_previousposition")) == last
            assert int(header(each, "ce_position")) > last
            last = int(header(each, "ce_position"))


async def test_partitions_without_events_say_how_far_everything_is(published: Published) -> None:
    busy = {each.partition() for each in published.events}
    idle = set(range(PARTITIONS)) - busy
    assert len(idle) >= PARTITIONS - 2
    for partition in idle:
        *_, last = in_partition(published.records, partition)
        assert int(header(last, "ce_position")) == published.position
    for each in published.watermarks:
        found = headers(each)
        assert found.keys() == WATERMARK_HEADERS
        assert each.key() is None
        assert found["ce_epoch"] == published.epoch


def in_partition(
    records: list[confluent_kafka.Message], partition: int
) -> Iterator[confluent_kafka.Message]:
    return (each for each in records if each.partition() == partition)
