"""What `verify` says about a projection that was added: nothing, or each thing damaged by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from projections.derived import drop_version, load_modules, made_tables, make_tables
from projections.verification import Compared, verify_added
from service.errors import ConfigurationError, EventsArchived
from service.events import CustomerDeleted
from service.findings import Finding, Findings
from service.identifiers import CustomerId
from tests.support.archiving import Archive, small_partitions
from tests.support.derived import MODULE, Added, a_history_of_sales, write_example
from tests.support.logs import a_change
from tests.support.parking import a_customer, change_the_log, mend, spoil
from tests.support.projections import append_history, projected, running
from tests.support.topics import eventually
from tests.support.vaults import VAULT
from tests.support.verifying import Watched


class Found(NamedTuple):
    findings: Findings
    compared: Compared

    @property
    def listed(self) -> list[tuple[str, str | None]]:
        """Each kind, and of whom."""
        return [(each.kind, each.customer_id) for each in self.findings.listed]

    @property
    def only(self) -> Finding:
        (finding,) = self.findings.listed
        return finding


@pytest.fixture
async def added(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Added]:
    """The documented example over a log with deletions, up to date."""
    async with sold(database, tmp_path, monkeypatch) as made:
        yield made


@asynccontextmanager
async def sold(
    database: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *, partition_events: int = 0
) -> AsyncIterator[Added]:
    """`partition_events` makes partitions of that many; 0 = none but the usual one."""
    write_example(folder)
    monkeypatch.syspath_prepend(str(folder))
    async with projected(database) as world:
        if partition_events:
            await small_partitions(world.postgres, partition_events)
        made = Added(world, load_modules([MODULE])[MODULE])
        await make_tables(world.postgres, [made.derived])
        history = a_history_of_sales(Random(4), steps=300, customers=20, deletion_share=0.02)
        await append_history(world.appender, history)
        await catch_up(made)
        yield made


async def catch_up(added: Added) -> None:
    async with running(added.runner()):
        await eventually(added.is_up_to_date)


async def verify(added: Added, *, customers_max: int = 7) -> Found:
    findings = Findings()
    compared = await verify_added(
        *(added.world.postgres, VAULT, added.derived, findings, Watched()),
        customers_max=customers_max,
    )
    return Found(findings, compared)


async def a_row(added: Added) -> str:
    """Whose row it is."""
    found = await added.world.postgres.fetch_one(
        str, "SELECT max(customer_id) FROM derived.second_order_v1"
    )
    assert found is not None
    return found


async def deletion(customer_id: CustomerId, added: Added, version: int) -> None:
    change = a_change(customer_id, version, CustomerDeleted())._replace(closes_stream=True)
    await added.world.appender.append(change)


async def test_nothing_is_found_while_all_is_well(added: Added) -> None:
    found = await verify(added)
    assert found.listed == []
    streams = await added.world.postgres.fetch_one(int, "SELECT count(*) FROM log.stream")
    assert found.compared == Compared(streams or 0, 0, 0)
    assert await added.world.postgres.fetch_one(
        int, "SELECT count(*) FROM derived.reached WHERE is_gone"
    )


async def test_whose_beginning_is_archived_is_left_out(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sold(database, tmp_path, monkeypatch, partition_events=50) as added:
        folder = tmp_path / "archive"
        folder.mkdir()
        await Archive(added.world.postgres, folder).archive()
        found = await verify(added)
        (whole,) = await added.world.postgres.fetch(
            int, "SELECT count(*) FROM log.stream WHERE first_position >= 50"
        )
        assert (found.listed, found.compared.customers) == ([], whole)
        assert found.compared.archived > 0


async def test_no_table_is_made_that_could_not_begin_at_the_logs_beginning(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sold(database, tmp_path, monkeypatch, partition_events=50) as added:
        postgres, archive = added.world.postgres, Archive(added.world.postgres, tmp_path)
        await archive.archive()
        assert await make_tables(postgres, [added.derived]) == []  # it is there
        assert await drop_version(postgres, *added.derived.key)
        with pytest.raises(EventsArchived):
            await make_tables(postgres, [added.derived])
        assert await made_tables(postgres) == []
        await archive.attach()
        assert await make_tables(postgres, [added.derived]) == [added.derived.table]


async def test_what_is_on_its_way_is_counted_and_no_finding(added: Added) -> None:
    """A change, somebody new, and a deletion, after which the log is blank."""
    await a_customer(added.world, tags=1, orders=2)
    gone = await a_customer(added.world, tags=0, orders=2, email="joe@example.com")
    await catch_up(added)
    await deletion(gone, added, 3)
    await a_customer(added.world, tags=1, email="kim@example.com")
    found = await verify(added)
    assert (found.listed, found.compared.behind) == ([], 2)


@pytest.mark.parametrize(
    ("damage", "kind", "words"),
    [
        ("UPDATE derived.second_order_v1 SET days = coalesce(days, 0) + 1", "different", "in days"),
        ("UPDATE derived.second_order_v1 SET tenant = 'nobody'", "different", "in tenant"),
        ("UPDATE derived.second_order_v1 SET orders = '{}'", "different", "in orders"),
        ("DELETE FROM derived.second_order_v1", "missing", "lacks a row"),
        ("UPDATE derived.reached SET is_gone = true", "different", "is_gone"),
        ("UPDATE derived.reached SET heard_version = heard_version + 1", "different", "waits"),
    ],
)
async def test_a_row_that_was_damaged_is_found(
    added: Added, damage: str, kind: str, words: str
) -> None:
    who = await a_row(added)
    await added.world.postgres.execute(f"{damage} WHERE customer_id = $1", who)
    found = await verify(added)
    assert found.listed == [(kind, who)]
    assert found.only.where == "projections"
    assert found.only.detail.startswith("second_order_v1: ")
    assert words in found.only.detail


async def test_rows_that_should_not_be_there_are_found(added: Added) -> None:
    who = await a_customer(added.world, tags=1)
    await catch_up(added)
    for customer_id in (who, "cust_nobody"):
        await added.world.postgres.execute(
            "INSERT INTO derived.second_order_v1 VALUES ($1, 'default', '{}', now())", customer_id
        )
    found = await verify(added)
    assert found.listed == [("unexpected", who), ("unexpected", "cust_nobody")]


async def test_events_that_were_left_out_are_found(added: Added) -> None:
    who = await a_customer(added.world, tags=2, orders=1)
    await catch_up(added)
    await added.world.postgres.execute(
        "UPDATE derived.reached SET stream_version = 2, heard_version = 2 WHERE customer_id = $1",
        who,
    )
    found = await verify(added)
    assert found.listed == [("missing", who), ("unexpected", who)]
    assert found.findings.listed[0].position is not None


async def test_who_was_deleted_and_is_still_there_is_found(added: Added) -> None:
    who = await a_customer(added.world, tags=0, orders=2)
    await catch_up(added)
    await deletion(who, added, 3)
    await added.world.postgres.execute(
        "UPDATE projection.checkpoint SET position = (SELECT position FROM log.head)"
        " WHERE projection = 'second_order'"
    )
    found = await verify(added)
    assert found.listed == [("missing", who), ("unexpected", who)]
    assert "of who was deleted" in found.findings.listed[1].detail


async def test_who_is_parked_is_told_with_the_reason(added: Added) -> None:
    who = await a_customer(added.world, tags=3)
    await spoil(added.world.postgres, who, 3)
    await catch_up(added)
    found = await verify(added)
    assert (found.listed, found.compared.parked) == ([("different", who)], 1)
    assert "parked before version 3: unknown_type" in found.only.detail
    await mend(added.world.postgres)

    async def nobody_is_parked() -> bool:
        return await added.parked() == []

    async with running(added.runner()):  # whoever is parked is tried again once it has begun
        await eventually(nobody_is_parked)
    assert (await verify(added)).listed == []


async def test_what_cannot_be_folded_is_told(added: Added) -> None:
    who = await a_customer(added.world, tags=3)
    await catch_up(added)
    await spoil(added.world.postgres, who, 2)
    found = await verify(added)
    assert found.listed == [("different", who)]
    assert "version 2 cannot be applied: unknown_type" in found.only.detail


async def test_a_checkpoint_of_another_log_is_found(added: Added) -> None:
    await change_the_log(
        added.world.postgres,
        "UPDATE projection.checkpoint SET epoch = 'another' WHERE projection = 'second_order'",
    )
    assert {each.detail for each in (await verify(added)).findings.listed} == {
        "the checkpoint is of another epoch, that is another log"
    }


async def test_a_table_of_another_module_is_refused(added: Added) -> None:
    await added.world.postgres.execute("UPDATE derived.projection SET shape = 'another'")
    with pytest.raises(ConfigurationError):
        await verify(added)
