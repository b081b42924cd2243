"""What is wrong with the read model is said, by kind and table; and sums are worked out twice."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from projections import roll_ups
from projections.verification import verify_read_model, walk
from service.events import CustomerTagged, Order
from service.findings import Findings, Kind
from tests.servers.databases import Databases
from tests.servers.server import Handle
from tests.support.logs import a_change
from tests.support.vaults import VAULT
from tests.support.verifying import System, a_system, a_system_alone, of

LIVING = "(SELECT min(id) FROM customers_v1.profile WHERE tenant = 'default')"
DELETED = "(SELECT min(id) FROM customers_v1.customer WHERE document IS NULL)"
REFERENCE = "(SELECT min(reference) FROM customers_v1.anonymous)"
ORDER = f"customer_id = {LIVING} AND order_id = {LIVING} || '_0'"

# Table, statement, kinds, pieces of the details.
DAMAGES: dict[str, tuple[str, str, set[Kind], str]] = {
    "a row lost": ("customer", "DELETE FROM {t} WHERE id = {l}", {"missing"}, "has no row"),
    "a row of nobody": (
        *("customer", "INSERT INTO {t} VALUES ('cust_x', 'default', 1, 1, '{{}}', '{{}}')"),
        *({"unexpected"}, "customer has a row of nobody"),
    ),
    "a version behind": (
        *("customer", "UPDATE {t} SET version = version - 1 WHERE id = {l}"),
        *(
            {"missing", "different"},
            "behind the checkpoint|not as the log says|differs from the log|add up to",
        ),
    ),
    "a version ahead": (
        *("customer", "UPDATE {t} SET version = version + 1 WHERE id = {l}"),
        *({"unexpected"}, "the log ends at"),
    ),
    "a name": (
        "customer",
        "UPDATE {t} SET document = replace(document, 'Jane', 'June') WHERE id = {l}",
        *({"different"}, "customer.document is not as the log says, in firstName"),
    ),
    "a line of the list": (
        *("customer", "UPDATE {t} SET item = document WHERE id = {l}"),
        *({"different"}, "customer.item"),
    ),
    "a mark": (
        *("customer", "UPDATE {t} SET is_stale = true WHERE id = {l}"),
        *({"different"}, "is_stale"),
    ),
    "a deleted customer shown": (
        *("customer", "UPDATE {t} SET document = '{{}}', item = '{{}}' WHERE id = {d}"),
        *({"different"}, "customer.document|customer.item|add up to"),
    ),
    "a reference lost": (
        *("customer", "UPDATE {t} SET anonymous_reference = NULL WHERE id = {d}"),
        *({"different", "unexpected"}, "anonymous_reference|anonymous has a row|add up to"),
    ),
    "a profile lost": (
        "profile",
        "DELETE FROM {t} WHERE id = {l}",
        {"missing", "different", "unexpected"},
        "profile lacks a row|counter counts|day counts|tagged has a row",
    ),
    "a sort key": (
        *("profile", "UPDATE {t} SET email_key = 'x' WHERE id = {l}"),
        *({"different"}, "profile differs from the log in email_key"),
    ),
    "a tag of a profile": (
        *("profile", "UPDATE {t} SET tags = tags[2:] WHERE id = {l}"),
        *({"different", "unexpected"}, "in tags|tagged has a row|counter counts"),
    ),
    "a deleted customer's profile": (
        "profile",
        "INSERT INTO {t} VALUES ({d}, 'default', now(), 'e', 'e', NULL, NULL, true, '{{}}')",
        *({"unexpected", "different"}, "profile has a row that should not|counter|day"),
    ),
    "an activity lost": (
        *("activity", "DELETE FROM {t} WHERE id = {l}"),
        *({"missing", "different"}, "activity lacks a row|add up to: activity.order_count"),
    ),
    "a total": (
        *("activity", "UPDATE {t} SET total_spent = total_spent + 1 WHERE id = {l}"),
        *({"different"}, "in total_spent|add up to: activity.total_spent"),
    ),
    "a count": (
        *("activity", "UPDATE {t} SET order_count = order_count + 1 WHERE id = {l}"),
        *({"different"}, "in order_count|add up to: activity.order_count"),
    ),
    "a deleted customer's words": (
        *("search", "INSERT INTO {t} VALUES ({d}, 'default', 'jane', '{{}}')"),
        *({"unexpected"}, "search has a row that should not"),
    ),
    "words lost": ("search", "DELETE FROM {t} WHERE id = {l}", {"missing"}, "search lacks a row"),
    "grams": (
        *("search", "UPDATE {t} SET grams = grams[2:] WHERE id = {l}"),
        *({"different"}, "search differs from the log in grams"),
    ),
    "a tag lost": (
        "tagged",
        "DELETE FROM {t} WHERE id = {l} AND tag = (SELECT min(tag) FROM {t} WHERE id = {l})",
        *({"missing"}, "tagged lacks a row"),
    ),
    "a tag too many": (
        *("tagged", "INSERT INTO {t} SELECT 99, created_at, id FROM {t} WHERE id = {l} LIMIT 1"),
        *({"unexpected"}, "tagged has a row that no profile has"),
    ),
    "an order lost": (
        *("contribution", "DELETE FROM {t} WHERE {o}"),
        *({"missing", "different"}, "contribution lacks a row|the sum of contribution"),
    ),
    "an amount": (
        *("contribution", "UPDATE {t} SET amount = amount + 1 WHERE {o}"),
        *({"different"}, "in amount|the sum of contribution"),
    ),
    "an order too many": (
        "contribution",
        "INSERT INTO {t} SELECT customer_id, 'x', 1, 'USD', 1, false, now(), '' FROM {t} WHERE {o}",
        *({"unexpected"}, "contribution has a row that should not"),
    ),
    "an order of nobody": (
        *("contribution", "UPDATE {t} SET customer_id = 'anon_x' WHERE {o}"),
        *({"missing", "unexpected", "different"}, "lacks a row|row of nobody|the sum"),
    ),
    "an anonymous amount": (
        *("contribution", "UPDATE {t} SET amount = amount + 1 WHERE customer_id = {r}"),
        *({"different"}, "in amount|the sum of contribution"),
    ),
    "a deleted customer's order under its id": (
        *("contribution", "UPDATE {t} SET customer_id = {d} WHERE customer_id = {r}"),
        *({"missing", "unexpected", "different"}, "lacks a row|should not be there|the sum"),
    ),
    "a reference's row lost": (
        *("anonymous", "DELETE FROM {t}"),
        *({"missing", "unexpected"}, "anonymous lacks a row|contribution has a row of nobody"),
    ),
    "a reference's tenant": (
        *("anonymous", "UPDATE {t} SET tenant = 'other'"),
        *({"different"}, "anonymous differs from the log in tenant"),
    ),
    "a counter": (
        *("counter", "UPDATE {t} SET count = count + 1 WHERE tag = 0"),
        *({"different"}, "counter counts"),
    ),
    "a day": ("day", "UPDATE {t} SET count = count + 1", {"different"}, "day counts"),
}


def filled_in(table: str, statement: str) -> str:
    return statement.format(t=f"customers_v1.{table}", l=LIVING, d=DELETED, r=REFERENCE, o=ORDER)


@pytest.fixture(scope="module")
async def system(databases: Databases, kafka_server: Handle) -> AsyncIterator[System]:
    """One for all tests here: each mends what it has damaged."""
    async with a_system_alone(databases, kafka_server) as made:
        await made.traffic(3)
        await made.model.catch_up()
        yield made


@pytest.fixture
async def fresh(database: str, kafka_server: Handle, topic_suffix: str) -> AsyncIterator[System]:
    async with a_system(database, kafka_server, topic_suffix) as made:
        yield made


async def verified(system: System) -> Findings:
    findings = Findings()
    system.compared = await verify_read_model(system.postgres, VAULT, findings, system.watched)
    return findings


@pytest.mark.parametrize("name", DAMAGES)
async def test_what_is_damaged_is_said(name: str, system: System) -> None:
    table, statement, kinds, details = DAMAGES[name]
    assert (await verified(system)).listed == []
    async with system.mended(f"customers_v1.{table}"):
        await system.damage(filled_in(table, statement))
        findings = await verified(system)
        assert {kind for _, kind in findings.counts} == kinds, findings.listed
        wanted = set(details.split("|"))
        for each in findings.listed:
            assert each.where == "read_model"
            assert any(text in each.detail for text in details.split("|")), each
            wanted -= {text for text in wanted if text in each.detail}
        assert wanted == set(), findings.listed
    assert (await verified(system)).listed == []


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        ("position = 1000000", "unexpected", "ahead of the log"),
        ("epoch = 'another'", "different", "another epoch"),
    ],
)
async def test_a_checkpoint_of_another_log_is_said(
    change: str, kind: Kind, text: str, system: System
) -> None:
    async with system.mended("projection.checkpoint"):
        await system.damage(f"UPDATE projection.checkpoint SET {change}")  # noqa: S608
        findings = await verified(system)
        assert text in of(findings, "read_model", kind)[0].detail


async def test_all_are_counted_and_some_are_read(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "ROWS_MAX", 2)
    async with system.mended("customers_v1.tagged", "customers_v1.counter"):
        await system.damage(
            "DELETE FROM customers_v1.tagged",
            "INSERT INTO customers_v1.tagged SELECT 9, now(), n FROM generate_series(1, 7) AS n",
            "UPDATE customers_v1.counter SET count = count + 1",
        )
        counts = (await verified(system)).counts
        assert counts["read_model", "unexpected"] == 7
        assert counts["read_model", "missing"] == 8
        assert counts["read_model", "different"] == 6


async def test_a_fault_of_the_fold_shows_in_the_sums(
    fresh: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are as the broken fold makes them, so only the other calculation can tell."""

    def without_refunds(order: Order) -> int:
        return order.total

    monkeypatch.setattr(roll_ups.orders, "contribution", without_refunds)
    customer_id = await fresh.customer()
    await fresh.model.catch_up()
    (finding,) = (await verified(fresh)).listed
    assert finding.customer_id == customer_id
    assert finding.detail == (
        "not what the orders in the log add up to: activity.total_spent, spentByCurrency,"
        " the sum of contribution"
    )


async def test_a_parked_customer_is_said_and_compared_at_its_version(fresh: System) -> None:
    customer_id = await fresh.customer()
    await fresh.model.catch_up()
    unreadable = a_change(customer_id, 9, CustomerTagged(tags=("late",)))
    await fresh.model.appender.append(unreadable)
    await fresh.damage("UPDATE log.event SET type = 'customer.new' WHERE version = 10")
    await fresh.model.catch_up()
    (finding,) = (await verified(fresh)).listed
    assert finding.customer_id == customer_id
    assert finding.detail == "parked before version 10: unknown_type"
    assert fresh.compared is not None
    assert fresh.compared.parked == 1


async def test_who_was_deleted_and_is_not_yet_hidden_is_on_its_way(fresh: System) -> None:
    customer_id = await fresh.customer()
    await fresh.model.catch_up()
    await fresh.delete(customer_id)
    assert (await verified(fresh)).listed == []
    assert fresh.compared is not None
    assert fresh.compared.behind == 1
    await fresh.damage("UPDATE projection.checkpoint SET position = 10")
    kinds = [(each.kind, each.detail) for each in (await verified(fresh)).listed]
    assert ("unexpected", "the customer is still shown, and was deleted") in kinds


async def test_many_orders_of_one_customer_are_folded_in_pages(fresh: System) -> None:
    """More events than a page holds, among them many versions of a few orders."""
    customer_id = await fresh.customer(orders=0)
    for number in range(300):
        fields = {"status": ("paid", "cancelled")[number % 7 == 0], "total": number}
        await fresh.order(customer_id, f"order_{number % 40}", number + 1, **fields)
    await fresh.customer()
    await fresh.model.catch_up()
    assert (await verified(fresh)).listed == []
