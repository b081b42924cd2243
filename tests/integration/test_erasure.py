"""A deleted customer is looked for everywhere, and what was left by hand is found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from service.command_handler import CommandHandler
from service.customer import CreateCustomer, DeleteCustomer
from service.erasure import Finding, Report, deleted_at, look_in_database, unclean_tables
from service.errors import NotFound
from service.event_log import EventLog
from service.identifiers import CustomerId, new_customer_id
from service.postgres import Postgres
from tests.support.logs import a_request
from tests.support.projections import Projected, projected
from tests.support.rebuilding import built, caught_up, fed
from tests.support.vaults import VAULT

TABLES = """
SELECT table_schema || '.' || table_name FROM information_schema.columns
WHERE column_name IN ('customer_id', 'id') AND data_type = 'text'
  AND table_schema IN ('log', 'vault', 'customers_v1', 'projection', 'derived')
ORDER BY 1
"""
LOOKED_AT_OTHERWISE = {"log.event"}  # each one is read and opened
PROJECTIONS = ("parked", "outdated_state", "rebuild_difference")
PARTITION = "log.event_000000"
NOW = datetime.now(UTC)


@dataclass
class World:
    model: Projected
    handler: CommandHandler

    @property
    def postgres(self) -> Postgres:
        return self.model.postgres

    async def customer(self) -> CustomerId:
        customer_id = new_customer_id()
        command = CreateCustomer(
            id=customer_id, email="jane@example.com", first_name="Janet", tags=("vip",)
        )
        await self.handler.handle(a_request(customer_id, command))
        await self.model.catch_up()
        return customer_id

    async def deleted(self) -> CustomerId:
        customer_id = await self.customer()
        await self.handler.handle(a_request(customer_id, DeleteCustomer()))
        return customer_id

    async def report(self, customer_id: CustomerId) -> Report:
        since = await deleted_at(self.postgres, "default", customer_id)
        log = EventLog(self.postgres, VAULT)
        findings = await look_in_database(self.postgres, log, "default", customer_id)
        unclean = await unclean_tables(self.postgres, since) if since else ()
        return Report(customer_id, "default", NOW, since, findings, unclean)


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with projected(database) as model:
        yield World(model, CommandHandler(EventLog(model.postgres, VAULT), model.appender))


def readable(report: Report) -> dict[str, int]:
    return {each.place: each.readable for each in report.findings if each.readable}


async def test_who_lives_is_found_everywhere(world: World) -> None:
    report = await world.report(await world.customer())
    assert report.deleted_at is None
    assert not report.is_forgotten
    assert readable(report).keys() >= {
        "log.event", "log.email_claim", "vault.customer_key", "read_model.customer",
        "read_model.profile", "read_model.search", "read_model.tagged", "read_model.activity",
    }  # fmt: skip


async def test_who_was_deleted_is_found_nowhere_once_the_read_model_knows(world: World) -> None:
    customer_id = await world.deleted()
    before = await world.report(customer_id)
    assert before.deleted_at is not None
    assert not before.is_forgotten
    assert all(place.startswith("read_model.") for place in readable(before))
    await world.model.catch_up()
    after = await world.report(customer_id)
    assert readable(after) == {}
    assert after.is_forgotten
    assert after.clear_at is None
    assert next(each for each in after.findings if each.place == "log.event").held == 2


LEFT = {
    "vault.customer_key": "UPDATE vault.customer_key SET wrapped = '\\x00', destroyed_at = NULL",
    "log.email_claim": "INSERT INTO log.email_claim VALUES ('default', 'a digest', $1)",
    "read_model.search": "INSERT INTO customers_v1.search VALUES ($1, 'default', 'janet', '{}')",
    "read_model.customer": "UPDATE customers_v1.customer SET item = 'Janet' WHERE id = $1",
    "log.event": """UPDATE log.event SET data = data || '{"email": "jane@example.com"}'
                    WHERE version = 1""",
}


@pytest.mark.parametrize("place", LEFT)
async def test_what_is_left_is_found(place: str, world: World) -> None:
    customer_id = await world.deleted()
    await world.model.catch_up()
    await world.postgres.execute(f"ALTER TABLE {PARTITION} DISABLE TRIGGER event_append_only")
    left = LEFT[place]
    await world.postgres.execute(left, *[customer_id] * left.count("$1"))
    report = await world.report(customer_id)
    assert place in readable(report)
    assert report.deleted_at is not None
    assert not report.is_forgotten


async def test_what_is_left_in_a_version_that_is_not_read_is_found(world: World) -> None:
    customer_id = await world.customer()
    build = await built(world.postgres)
    await world.handler.handle(a_request(customer_id, DeleteCustomer()))
    await world.model.catch_up()
    report = await world.report(customer_id)
    assert not report.is_forgotten
    tables = ("activity", "customer", "profile", "search", "tagged")
    assert readable(report) == {f"customers_v2.{table}": 1 for table in tables}
    async with fed(world.postgres, build.projection):
        await caught_up(world.postgres, build.projection)
    assert (await world.report(customer_id)).is_forgotten


async def test_a_lost_row_of_a_key_is_told(world: World) -> None:
    customer_id = await world.deleted()
    await world.model.catch_up()
    await world.postgres.execute("DELETE FROM vault.customer_key")
    report = await world.report(customer_id)
    (events,) = [each for each in report.findings if each.place == "log.event"]
    assert events.note == f"the key of {customer_id} is lost, and it was not deleted"
    assert not report.is_forgotten


@pytest.mark.parametrize("days", [-1, 1], ids=["overdue", "in time"])
def test_what_should_be_gone_by_now_is_left(days: int) -> None:
    finding = Finding("customer.events.v1", 2, 1, NOW + timedelta(days=days))
    report = Report("cust_1", "default", NOW, NOW, [finding], ())
    assert report.is_forgotten == (days > 0)
    assert report.clear_at == (finding.clear_at if days > 0 else None)


async def test_another_tenants_customer_is_nobody(world: World) -> None:
    customer_id = await world.deleted()
    with pytest.raises(NotFound):
        await deleted_at(world.postgres, "acme", customer_id)
    with pytest.raises(NotFound):
        await deleted_at(world.postgres, "default", CustomerId("a\udcff"))


async def test_every_table_that_names_customers_is_looked_at(world: World) -> None:
    report = await world.report(await world.customer())
    views = {f"read_model.{name}": f"projection.{name}" for name in PROJECTIONS}
    places = [views.get(each.place, each.place) for each in report.findings]
    looked_at = {place.replace("read_model.", "customers_v1.") for place in places}
    tables = set(await world.postgres.fetch(str, TABLES))
    known = {each for each in tables if each != PARTITION} - LOOKED_AT_OTHERWISE
    assert known - looked_at == set()


async def test_tables_that_were_not_vacuumed_since_are_named(world: World) -> None:
    customer_id = await world.deleted()
    await world.model.catch_up()
    assert "vault.customer_key" in (await world.report(customer_id)).unclean
    await world.postgres.execute("VACUUM vault.customer_key")

    report = await world.report(customer_id)
    assert "vault.customer_key" not in report.unclean
