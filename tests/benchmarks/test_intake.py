"""The benchmark's orders must be ones that the intake records, or its rate would never end."""

from __future__ import annotations

from benchmarks.intake import _orders
from service.kafka import ConsumedRecord
from service.order_intake import OrderMessage, read_message


def test_every_message_is_the_next_version_of_a_new_order() -> None:
    read: list[OrderMessage] = []
    for each in _orders("run", ["cust_a", "cust_b"], range(6)):
        record = ConsumedRecord(
            "orders", 0, 0, each.timestamp_ms, each.key, each.value, each.headers
        )
        message = read_message(record)
        assert isinstance(message, OrderMessage), message
        assert each.key == message.order_id.encode()  # so its versions stay in order
        read.append(message)
    assert [(each.order_id, each.order_version) for each in read] == [
        (f"ord_run_{order}", version) for order in range(3) for version in (1, 2)
    ]
    assert [each.customer_id for each in read] == [
        *["cust_a"] * 2,
        *["cust_b"] * 2,
        *["cust_a"] * 2,
    ]
