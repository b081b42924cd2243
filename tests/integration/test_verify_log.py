"""What is wrong with the log itself is said, by kind."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from service.findings import Findings, Kind
from service.verification import verify_log
from tests.servers.databases import Databases
from tests.servers.server import Handle
from tests.support.vaults import VAULT
from tests.support.verifying import System, a_system_alone, of

LIVING = "(SELECT min(customer_id) FROM log.stream WHERE NOT is_closed)"
DELETED = "(SELECT min(customer_id) FROM log.stream WHERE is_closed)"
MIDDLE = "(SELECT position FROM log.head) / 2"

DAMAGES: dict[str, tuple[str, str, set[Kind], str]] = {
    "an event removed": (
        "log.event",
        f"DELETE FROM log.event WHERE customer_id = {LIVING} AND version = 3",  # noqa: S608
        {"missing"},
        "no event at this position|hole in its versions before version 4",
    ),
    "an event added": (
        "log.event",
        (
            "INSERT INTO log.event SELECT position + 1000, id, tenant, customer_id, version, type,"
            " schema_version, data, sealed, meta, recorded_at FROM log.event WHERE position = 3"
        ),
        {"repeated", "unexpected", "out_of_order", "different"},
        "beyond the position|a version twice|do not rise|log.stream says position",
    ),
    "an event of nobody": (
        "log.stream",
        f"DELETE FROM log.stream WHERE customer_id = {LIVING}",  # noqa: S608
        {"unexpected"},
        "no row in log.stream|does not live",
    ),
    "a time that goes back": (
        "log.event",
        f"UPDATE log.event SET recorded_at = '2020-01-01' WHERE position = {MIDDLE}",  # noqa: S608
        {"out_of_order"},
        "time is before",
    ),
    "a stream's version": (
        "log.stream",
        f"UPDATE log.stream SET version = version + 1 WHERE customer_id = {LIVING}",  # noqa: S608
        {"different"},
        "log.stream says version",
    ),
    "a stream's position": (
        "log.stream",
        f"UPDATE log.stream SET position = position - 1 WHERE customer_id = {LIVING}",  # noqa: S608
        {"different"},
        "log.stream says position",
    ),
    "a stream that is open again": (
        "log.stream",
        f"UPDATE log.stream SET is_closed = false WHERE customer_id = {DELETED}",  # noqa: S608
        {"different"},
        "is_closed false, the events say true|alive, and the key is gone",
    ),
    "a stream without events": (
        "log.stream",
        "INSERT INTO log.stream VALUES ('cust_nobody', 'default', 1, 1, 1, false)",
        {"missing"},
        "without any event",
    ),
    "a claim lost": (
        "log.email_claim",
        f"DELETE FROM log.email_claim WHERE customer_id = {LIVING}",  # noqa: S608
        {"missing"},
        "nobody claims",
    ),
    "a claim of another": (
        "log.email_claim",
        (
            "UPDATE log.email_claim"
            " SET customer_id = (SELECT max(customer_id) FROM log.email_claim)"
            " WHERE customer_id = (SELECT min(customer_id) FROM log.email_claim)"
        ),
        {"different", "unexpected"},
        "another customer claims|a second claim|does not live",
    ),
    "a claim of the deleted": (
        "log.email_claim",
        f"INSERT INTO log.email_claim SELECT 'default', 'digest', {DELETED}",
        {"unexpected"},
        "does not live",
    ),
    "a key lost": (
        "vault.customer_key",
        f"DELETE FROM vault.customer_key WHERE customer_id = {LIVING}",  # noqa: S608
        {"missing", "different"},
        "no row for the customer|does not open",
    ),
    "an event that does not open": (
        "log.event",
        f"UPDATE log.event SET sealed = '\\x0100' WHERE customer_id = {LIVING} AND version = 3",  # noqa: S608
        {"different"},
        "does not open",
    ),
    "an accepted order lost": (
        "log.accepted_order",
        (
            "DELETE FROM log.accepted_order"
            " WHERE order_id = (SELECT min(order_id) FROM log.accepted_order)"
        ),
        {"missing"},
        "no row in log.accepted_order",
    ),
    "an accepted order of another version": (
        "log.accepted_order",
        (
            "UPDATE log.accepted_order SET order_version = 9"
            " WHERE order_id = (SELECT min(order_id) FROM log.accepted_order)"
        ),
        {"different"},
        "another version",
    ),
    "an accepted order that nobody recorded": (
        "log.accepted_order",
        f"INSERT INTO log.accepted_order SELECT 'default', 'order_x', {LIVING}, 1, '\\x00'",
        {"unexpected"},
        "the log has not recorded",
    ),
    "a key of a request": (
        "log.idempotency",
        (
            "UPDATE log.idempotency SET position = position + 1"
            " WHERE key = (SELECT min(key) FROM log.idempotency)"
        ),
        {"unexpected"},
        "log.idempotency names an event",
    ),
}


@pytest.fixture(scope="module")
async def system(databases: Databases, kafka_server: Handle) -> AsyncIterator[System]:
    """One for all tests here: each mends what it has damaged."""
    async with a_system_alone(databases, kafka_server) as made:
        await made.traffic(3)
        yield made


async def verified(system: System) -> Findings:
    findings = Findings()
    await verify_log(system.postgres, VAULT, findings, system.watched)
    return findings


@pytest.mark.parametrize("name", DAMAGES)
async def test_what_is_damaged_is_said(name: str, system: System) -> None:
    table, statement, kinds, details = DAMAGES[name]
    assert (await verified(system)).listed == []
    async with system.mended(table):
        await system.damage(statement)
        findings = await verified(system)
        assert {kind for _, kind in findings.counts} == kinds
        wanted = set(details.split("|"))
        for each in findings.listed:
            assert each.where == "log"
            assert any(text in each.detail for text in details.split("|")), each
            wanted -= {text for text in wanted if text in each.detail}
        assert wanted == set(), findings.listed
    assert (await verified(system)).listed == []


async def test_where_an_event_was_lost_is_said(system: System) -> None:
    async with system.mended("log.event"):
        await system.damage("DELETE FROM log.event WHERE position IN (4, 6)")
        holes = [each.position for each in of(await verified(system), "log", "missing")]
        assert {4, 6} <= set(holes)
