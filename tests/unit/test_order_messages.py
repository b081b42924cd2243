"""What is an order message and what is not; and that a fault never quotes what was sent."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime

import orjson
import pytest

from service.events import Actor, Meta, Order, OrderRecorded, decode, encode, encode_meta
from service.order_intake import OrderMessage, Unusable, read_message
from tests.support.orders import a_record, an_order

CUSTOMER = "cust_01j8z3k4m5n6p7q8r9s0t1v2w3"
BASE = an_order("ord_1", 2, CUSTOMER, total=4_500, captured=4_500, refunded=500)
STRUCTURED = ("content-type", b"application/cloudevents+json; charset=UTF-8")
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def message(value: object = BASE, *headers: tuple[str, bytes], **fields: int) -> OrderMessage:
    found = read_message(a_record(value, headers, **fields))
    assert isinstance(found, OrderMessage), found
    return found


def order_of(found: OrderMessage) -> Order:
    event = decode(OrderRecorded.type, OrderRecorded.schema_version, found.data)
    assert isinstance(event, OrderRecorded)
    return event.order


def unusable(value: object, *headers: tuple[str, bytes], **fields: int) -> Unusable:
    found = read_message(a_record(value, headers, **fields))
    assert isinstance(found, Unusable), found
    return found


def test_plain_json_is_read_whole() -> None:
    found = message(BASE | {"channel": "web", "lines": [{"sku": "x"}]})
    assert found[:4] == ("default", "ord_1", 2, CUSTOMER)
    assert order_of(found) == Order(
        order_id="ord_1",
        order_version=2,
        status="paid",
        currency="USD",
        total=4_500,
        captured=4_500,
        refunded=500,
        placed_at=datetime(2024, 3, 10, 8, tzinfo=UTC),
    )


def test_what_is_recorded_is_what_the_event_encodes_to() -> None:
    for value in (BASE, BASE | {"captured": None, "refunded": None, "test": True}):
        found = message(value)
        encoded = json.loads(encode(OrderRecorded(order=order_of(found))))
        encoded["order"]["placedAt"] = "2024-03-10T08:00:00.000Z"  # times have milliseconds here
        assert json.loads(found.data) == encoded
        assert "\n" not in found.data + found.meta


def test_binary_mode_says_more() -> None:
    headers = {"ce_id": "e-1", "ce_tenant": "acme", "ce_traceparent": TRACEPARENT}
    found = message(BASE, *((name, text.encode()) for name, text in headers.items()))
    assert found.tenant == "acme"
    meta = Meta(actor=Actor(type="system", id="intake"), request_id="e-1", traceparent=TRACEPARENT)
    assert found.meta == encode_meta(meta)


@pytest.mark.parametrize("in_base64", [False, True])
def test_structured_mode_says_the_same(in_base64: bool) -> None:
    data = {"data_base64": b64encode(orjson.dumps(BASE)).decode()} if in_base64 else {"data": BASE}
    envelope = {
        "specversion": "1.0", "id": "e-1", "source": "/shop", "type": "order",
        "tenant": "acme", "traceparent": TRACEPARENT, **data,
    }  # fmt: skip
    headers = {"ce_id": "e-1", "ce_tenant": "acme", "traceparent": TRACEPARENT}
    binary = message(BASE, *((name, text.encode()) for name, text in headers.items()))
    assert message(envelope, STRUCTURED) == binary


@pytest.mark.parametrize(
    ("headers", "fields", "tenant"),
    [
        ({}, {}, "default"),
        ({}, {"tenant": "acme"}, "acme"),
        ({"tenant": b"north"}, {"tenant": "acme"}, "north"),
        ({"ce_tenant": b"south", "tenant": b"north"}, {"tenant": "acme"}, "south"),
    ],
)
def test_where_the_tenant_comes_from(
    headers: dict[str, bytes], fields: dict[str, object], tenant: str
) -> None:
    assert message(BASE | fields, *headers.items()).tenant == tenant


@pytest.mark.parametrize("tenant", [b"", b"a b", b"\xff", b"x" * 64, b"a\nb", b"-a"])
def test_a_name_that_no_tenant_has(tenant: bytes) -> None:
    assert unusable(BASE, ("ce_tenant", tenant)).reason == "unknown_tenant"


WITHOUT_TIME = {name: value for name, value in BASE.items() if name != "placedAt"}


def test_when_it_was_placed_unless_it_says_so() -> None:
    ce_time = ("ce_time", b"2024-03-11T09:00:00.5+01:00")
    assert order_of(message(BASE, ce_time)).placed_at == datetime(2024, 3, 10, 8, tzinfo=UTC)
    found = order_of(message(WITHOUT_TIME, ce_time)).placed_at
    assert found == datetime(2024, 3, 11, 8, 0, 0, 500_000, tzinfo=UTC)
    found = order_of(message(WITHOUT_TIME, timestamp_ms=1_500)).placed_at
    assert found == datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)


def test_times_are_kept_in_utc_and_whole_milliseconds() -> None:
    data = message(BASE | {"placedAt": "2024-03-10T10:00:00.123999+02:00"}).data
    assert '"placedAt":"2024-03-10T08:00:00.123Z"' in data


def test_a_copy_of_another_time_is_the_same_and_another_content_is_not() -> None:
    digest = message(WITHOUT_TIME).digest
    assert message(WITHOUT_TIME, timestamp_ms=1).digest == digest
    assert message(WITHOUT_TIME, ("ce_time", b"2024-03-11T09:00:00Z")).digest == digest
    assert message(BASE | {"placedAt": "2024-03-10T09:00:00+01:00"}).digest == message().digest
    assert message(BASE | {"note": "ignored"}).digest == message().digest
    different = [
        {"total": 1}, {"status": "placed"}, {"captured": None}, {"test": True},
        {"placedAt": "2024-03-10T08:00:00.001Z"}, {"currency": "EUR"}, {"refunded": 0},
    ]  # fmt: skip
    digests = {message(BASE | change).digest for change in different}
    assert len(digests | {message().digest}) == len(different) + 1


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"total": 1.0}, "total: int_type"),
        ({"total": "1"}, "total: int_type"),
        ({"total": True}, "total: int_type"),
        ({"total": -1}, "total: greater_than_equal"),
        ({"total": 10**14 + 1}, "total: less_than_equal"),
        ({"captured": "4500"}, "captured: int_type"),
        ({"refunded": -1}, "refunded: greater_than_equal"),
        ({"orderVersion": 0}, "orderVersion: greater_than_equal"),
        ({"orderVersion": "2"}, "orderVersion: int_type"),
        ({"orderVersion": None}, "orderVersion: int_type"),
        ({"orderId": ""}, "orderId: string_too_short"),
        ({"orderId": 1001}, "orderId: string_type"),
        ({"orderId": "x" * 256}, "orderId: string_too_long"),
        ({"orderId": "a\0b"}, "orderId: string_pattern_mismatch"),
        ({"orderId": "a\n"}, "orderId: string_pattern_mismatch"),
        ({"customerId": "a\nb"}, "customerId: string_pattern_mismatch"),
        ({"status": "lost"}, "status: literal_error"),
        ({"currency": "usd"}, "currency: unknown_currency"),
        ({"currency": "XYZ"}, "currency: unknown_currency"),
        ({"placedAt": 1_710_057_600}, "placedAt: string_type"),
        ({"placedAt": "1710057600"}, "placedAt: string_pattern_mismatch"),
        ({"placedAt": "2024-03-10"}, "placedAt: string_pattern_mismatch"),
        ({"placedAt": "2024-03-10T08:00:00"}, "placedAt: string_pattern_mismatch"),
        ({"placedAt": "2024-13-10T08:00:00Z"}, "placedAt: invalid_time"),
        ({"placedAt": "0001-01-01T00:00:00+14:00"}, "placedAt: invalid_time"),
        ({"placedAt": "0001-01-01T00:00:00Z"}, "placedAt: invalid_time"),
        ({"test": 1}, "test: bool_type"),
        ({"tenant": 5}, "tenant: string_type"),
    ],
)
def test_what_does_not_fit_is_named_by_its_field(changes: dict[str, object], detail: str) -> None:
    assert unusable(BASE | changes) == Unusable("invalid_message", detail)


def test_all_faults_are_named_at_once_and_no_value() -> None:
    secret = "jane@example.com"
    detail = unusable({"orderId": 5, "total": secret, "status": secret, secret: 1}).detail
    assert detail.split("; ") == [
        "orderId: string_type",
        "orderVersion: missing",
        "status: literal_error",
        "currency: missing",
        "total: int_type",
        "customerId: missing",
    ]


@pytest.mark.parametrize(
    "value",
    [None, b"", b"null", b"[]", b"1", b"\xff\xfe", b'{"orderId":"\\ud800"}', b'{"a":' * 1_000,
     b'{"total":1' + b"0" * 5_000 + b"}", orjson.dumps(BASE)[:-1]],
)  # fmt: skip
def test_what_is_no_order_at_all(value: bytes | None) -> None:
    assert unusable(value).reason == "invalid_message"


@pytest.mark.parametrize(
    "envelope", [{}, {"data": None}, {"data": "text"}, {"data_base64": "!"}, {"data": {}}]
)
def test_an_envelope_without_an_order(envelope: object) -> None:
    assert unusable(envelope, STRUCTURED).reason == "invalid_message"


@pytest.mark.parametrize("timestamp_ms", [-1, 10**17])
def test_a_time_that_nobody_gave(timestamp_ms: int) -> None:
    assert unusable(WITHOUT_TIME, timestamp_ms=timestamp_ms).reason == "invalid_message"
    assert unusable(WITHOUT_TIME, ("ce_time", b"today")).detail == "ce_time: invalid_time"


@pytest.mark.parametrize("ce_id", [b"", b"a b", b'a"b', b"a\\b", b"\xff", b"x" * 129])
def test_a_message_without_a_usable_id_is_named_by_its_place(ce_id: bytes) -> None:
    meta = json.loads(message(BASE, ("ce_id", ce_id), partition=3, offset=42).meta)
    assert meta["requestId"] == "orders/3/42"


@pytest.mark.parametrize("traceparent", [b"", b"00-0-0-01", b"ff" + TRACEPARENT[2:].encode()])
def test_a_trace_that_is_none_is_left_out(traceparent: bytes) -> None:
    assert "traceparent" not in json.loads(message(BASE, ("traceparent", traceparent)).meta)
