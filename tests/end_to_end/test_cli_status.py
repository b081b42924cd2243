"""`customers status` on what is put aside: orders that wait, dead letters, parked customers."""

from __future__ import annotations

from tests.end_to_end.shop import Installation
from tests.support.orders import an_order, running

PARK = """
INSERT INTO projection.parked
    (projection, version, customer_id, tenant, stream_version, position, reason)
VALUES ('customers', 1, $1, 'default', 1, 1, $2)
"""


async def test_orders_wait_until_the_intake_has_committed_them(installed: Installation) -> None:
    shop = installed.shop
    (customer,) = await shop.customers(1)
    assert (await installed.status())["intake"] == {
        "lagMessages": 0, "lagSeconds": 0, "isStalled": False
    }  # fmt: skip
    await shop.publish(an_order(f"ord_{number}", 1, customer) for number in range(3))
    told = (await installed.status())["intake"]
    assert told["lagMessages"] == 3
    assert 0 < told["lagSeconds"] < 10
    async with running(shop.intake()):
        await shop.takes_in(recorded=3)
    assert (await installed.status())["intake"]["lagMessages"] == 0
    assert (await installed.status_lines())["intake"] == ["", "0", "0.0", "ok"]


async def test_dead_letters_are_counted_by_their_reasons(installed: Installation) -> None:
    shop = installed.shop
    (customer,) = await shop.customers(1)
    assert (await installed.status_lines())["dead letters"] == ["", "0", "0.0", "none"]
    await shop.publish([an_order("ord_1", 1, "cust_nobody"), an_order("ord_2", 1, "cust_nobody")])
    await shop.publish([an_order("ord_3", 0, customer)])
    async with running(shop.intake()):
        await shop.takes_in(unknown_customer=2, invalid_message=1)
    letters = (await installed.status())["deadLetters"]
    assert letters.pop("oldestSeconds") > 0
    assert letters == {
        "count": 3, "isMore": False, "byReason": {"invalid_message": 1, "unknown_customer": 2},
    }  # fmt: skip
    told = (await installed.status_lines())["dead letters"]
    assert (told[1], told[3]) == ("3", "invalid_message 1, unknown_customer 2")


async def test_parked_customers_are_counted_by_their_reasons(installed: Installation) -> None:
    for number, reason in enumerate(("undecodable", "refused", "refused")):
        await installed.shop.postgres.execute(PARK, f"cust_{number}", reason)
    parked = (await installed.status())["parked"]
    assert parked.pop("oldestSeconds") >= 0
    assert parked == {"count": 3, "byReason": {"refused": 2, "undecodable": 1}}
    told = (await installed.status_lines())["parked customers"]
    assert (told[1], told[3]) == ("3", "refused 2, undecodable 1")
