"""Events as CloudEvents in Kafka's binary mode: what is in a record, and that it comes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from aiokafka.partitioner import murmur2 as murmur2_of_aiokafka
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Corrupt
from service.event_log import StoredEvent
from service.events import CustomerTagged
from service.identifiers import event_id
from service.kafka import (
    ConsumedRecord,
    ReceivedEvent,
    Record,
    Watermark,
    event_record,
    partition_for,
    received,
    watermark_record,
)
from service.kafka.partitioner import murmur2

EVENT = StoredEvent(
    position=812,
    id=UUID("0190a1b2-c3d4-7000-8000-0123456789ab"),
    tenant="default",
    customer_id="cust_1",
    version=3,
    type="customer.tagged",
    schema_version=1,
    data='{"tags": ["vip"]}',
    meta='{"actor": {"id": "tok_1", "type": "token"}, "requestId": "r"}',
    time=datetime(2024, 3, 10, 8, 0, 0, 123000, tzinfo=UTC),
)

whole_milliseconds = st.datetimes(
    min_value=datetime(2000, 1, 1),  # noqa: DTZ001 - as hypothesis wants it
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
).map(lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000, tzinfo=UTC))


def consumed(record: Record, partition: int = 0, offset: int = 0) -> ConsumedRecord:
    return ConsumedRecord(
        "customer.events.v1",
        partition,
        offset,
        record.timestamp_ms,
        record.key,
        record.value,
        record.headers,
    )


def test_the_record_of_an_event_is_a_cloudevent_in_binary_mode() -> None:
    record = event_record(EVENT, b"cust_1", 800, b"epoch")

    assert record.key == b"cust_1"
    assert record.value == b'{"tags": ["vip"]}'
    assert record.timestamp_ms == 1710057600123
    assert dict(record.headers) == {
        "ce_specversion": b"1.0",
        "ce_id": event_id(EVENT.id).encode(),
        "ce_source": b"/customers",
        "ce_type": b"customer.tagged.v1",
        "ce_subject": b"cust_1",
        "ce_time": b"2024-03-10T08:00:00.123Z",
        "ce_sequence": b"3",
        "ce_position": b"812",
        "ce_previousposition": b"800",
        "ce_epoch": b"epoch",
        "ce_tenant": b"default",
        "content-type": b"application/json",
    }


def test_the_traceparent_of_the_request_continues() -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    traced = EVENT._replace(meta=f'{{"requestId": "r", "traceparent": "{trace}"}}')

    event = received(consumed(event_record(traced, b"cust_1", 0, b"e")))

    assert isinstance(event, ReceivedEvent)
    assert event.traceparent == trace


def test_a_request_id_cannot_pass_for_a_traceparent() -> None:
    forged = EVENT._replace(meta='{"requestId": "\\"traceparent\\""}')
    assert "ce_traceparent" not in dict(event_record(forged, b"cust_1", 0, b"e").headers)


@given(
    position=st.integers(1, 2**63 - 1),
    version=st.integers(1, 2**63 - 1),
    previous=st.integers(0, 2**63 - 1),
    key=st.uuids(),
    tenant=st.text(min_size=1, max_size=64),
    schema_version=st.integers(1, 32_767),
    time=whole_milliseconds,
    hours=st.integers(-12, 12),
)
def test_an_event_comes_back_whole(
    position: int,
    version: int,
    previous: int,
    key: UUID,
    tenant: str,
    schema_version: int,
    time: datetime,
    hours: int,
) -> None:
    stored = EVENT._replace(
        position=position,
        version=version,
        id=key,
        tenant=tenant,
        schema_version=schema_version,
        time=time + timedelta(hours=hours),
    )

    event = received(consumed(event_record(stored, b"cust_1", previous, b"e"), 4, 17))

    assert event == ReceivedEvent(
        position,
        previous,
        "e",
        event_id(key),
        tenant,
        "cust_1",
        version,
        "customer.tagged",
        schema_version,
        stored.data.encode(),
        event.time_text,
        None,
        4,
        17,
    )
    assert event.time == stored.time


def test_a_forgotten_event_says_so_and_no_other_does() -> None:
    plain = event_record(EVENT, b"cust_1", 0, b"e")
    forgotten = event_record(EVENT._replace(is_forgotten=True), b"cust_1", 0, b"e")

    assert "ce_forgotten" not in dict(plain.headers)
    assert dict(forgotten.headers)["ce_forgotten"] == b"true"
    assert [received(consumed(each)).is_forgotten for each in (plain, forgotten)] == [False, True]


def test_data_is_decoded_only_when_asked_for() -> None:
    broken = EVENT._replace(data="{}")
    good = received(consumed(event_record(EVENT, b"cust_1", 0, b"e")))
    bad = received(consumed(event_record(broken, b"cust_1", 0, b"e")))

    assert good.decoded() == CustomerTagged(tags=("vip",))
    with pytest.raises(Corrupt):
        bad.decoded()


def test_a_watermark_comes_back_whole() -> None:
    record = watermark_record(4, 812, 800, b"e", EVENT.time)

    assert record.key is None
    assert "ce_sequence" not in dict(record.headers)
    assert dict(record.headers)["ce_type"] == b"customer.watermark.v1"
    assert received(consumed(record, 4, 9)) == Watermark(812, 800, "e", 4, 9)


@pytest.mark.parametrize(
    "headers", [(), (("ce_type", b"store.opened.v1"),), (("ce_type", b"\xff"),)]
)
def test_kinds_that_readers_do_not_know_are_skipped(
    headers: tuple[tuple[str, bytes], ...],
) -> None:
    assert received(ConsumedRecord("t", 0, 0, 0, None, b"{}", headers)) is None


@pytest.mark.parametrize("missing", ["ce_position", "ce_epoch", "ce_sequence", "ce_tenant"])
def test_a_record_that_lacks_a_header_is_refused(missing: str) -> None:
    whole = consumed(event_record(EVENT, b"cust_1", 0, b"e"))
    torn = whole._replace(headers=[each for each in whole.headers if each[0] != missing])

    with pytest.raises(Corrupt, match="not whole"):
        received(torn)


@pytest.mark.parametrize(
    ("key", "hashed"),  # Apache Kafka's own UtilsTest.testMurmur2
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_keys_hash_as_in_kafkas_own_client(key: bytes, hashed: int) -> None:
    assert murmur2(key) == hashed % 2**32


@given(key=st.binary(max_size=80), partitions=st.integers(1, 1_000))
def test_any_key_goes_where_another_client_puts_it(key: bytes, partitions: int) -> None:
    assert partition_for(key, partitions) == (murmur2_of_aiokafka(key) & 0x7FFFFFFF) % partitions


def test_an_event_that_does_not_open_says_so_and_fits_no_model() -> None:
    record = event_record(EVENT._replace(data="{}", is_damaged=True), b"cust_1", 0, b"e")
    assert dict(record.headers)["ce_damaged"] == b"true"
    event = received(consumed(record))
    assert isinstance(event, ReceivedEvent)
    with pytest.raises(Corrupt):
        event.decoded()
