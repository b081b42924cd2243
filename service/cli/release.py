"""`customers parked`: who is parked, and trying them again.

Invariant: whoever goes on does so as a worker would have let it; nothing is skipped to get there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from projections.derived import made_tables, table_of
from projections.parked import Parked, parked_customers
from projections.release import Outcome, Release
from projections.store import Store
from projections.versions import active
from service.cli.connections import migrated_database, vault_of
from service.cli.output import Failed, Json, moment, print_json, print_table, say
from service.event_log import EventLog
from service.postgres import Postgres
from service.settings import Settings
from service.telemetry import configure_logging

NAMED_MAX = 20  # of those who are still parked; `customers parked list` has them all
TELL_CUSTOMERS = 1_000  # between lines of progress


@dataclass(slots=True)
class _Done:
    """What became of all who were tried."""

    tried: int = 0
    released: int = 0
    still_parked: int = 0
    applied: int = 0
    named: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.tried += 1
        self.applied += outcome.applied
        self.released += outcome.result == "released"
        if outcome.result == "still_parked":
            self.still_parked += 1
            if len(self.named) < NAMED_MAX:
                self.named.append(outcome)


async def list_parked(settings: Settings, tenant: str | None, *, as_json: bool) -> None:
    """In the read model and in all projections that were added."""
    async with migrated_database(settings) as postgres:
        read = await active(postgres)
        found = [(read.name, each) async for each in parked_customers(postgres, tenant, read)]
        for made in await made_tables(postgres):
            name, added = table_of(made.projection), made.projection
            found += [(name, each) async for each in parked_customers(postgres, tenant, added)]
    if as_json:
        print_json({"parked": [_parked(*each) for each in found]})
        return
    print_table(
        ["CUSTOMER", "TENANT", "VERSION", "POSITION", "REASON", "SINCE", "WAITING", "PROJECTION"],
        [
            [*map(str, each[:5]), moment(each.since), str(each.waiting), name]
            for name, each in found
        ],
    )


async def retry_parked(
    settings: Settings, customer_id: str, tenant: str | None, *, as_json: bool
) -> None:
    """Raises Failed where the customer is still parked, or is nobody."""
    async with _releasing(settings) as (_, release):
        outcome = await _release_one(release, customer_id, tenant)
    if as_json:
        print_json(_outcome(outcome))
    if outcome.result == "still_parked":
        raise Failed(_told(outcome))
    say(_told(outcome))


async def release_parked(
    settings: Settings, customer_id: str | None, tenant: str | None, *, as_json: bool
) -> None:
    """All who are parked, where no one is named. Raises Failed where anybody still is."""
    done = _Done()
    async with _releasing(settings) as (postgres, release):
        if customer_id is not None:
            done.add(await _release_one(release, customer_id, tenant))
        else:
            await _release_all(postgres, release, tenant, done)
    if as_json:
        print_json(
            {
                "released": done.released,
                "stillParked": done.still_parked,
                "eventsApplied": done.applied,
                "parked": [_outcome(each) for each in done.named],
            }
        )
    say(f"Released {done.released:,} of {done.tried:,}; applied {done.applied:,} events.")
    if done.still_parked:
        for each in done.named:
            say(_told(each))
        raise Failed(f"Still parked: {done.still_parked:,}. Mend the cause, and release again.")


async def _release_all(
    postgres: Postgres, release: Release, tenant: str | None, done: _Done
) -> None:
    async for each in parked_customers(postgres, tenant, await active(postgres)):
        outcome = await release.release(each.customer_id, each.tenant)
        if outcome is None:
            continue  # a row of nobody whom the log knows; `customers verify` tells
        done.add(outcome)
        if done.tried % TELL_CUSTOMERS == 0:
            say(f"Tried {done.tried:,} customers.")


async def _release_one(release: Release, customer_id: str, tenant: str | None) -> Outcome:
    outcome = await release.release(customer_id, tenant)
    if outcome is None:
        raise Failed("There is no such customer" + (f" in {tenant}." if tenant else "."))
    return outcome


@asynccontextmanager
async def _releasing(settings: Settings) -> AsyncIterator[tuple[Postgres, Release]]:
    configure_logging("ERROR")  # what an outcome says need not be logged as well
    vault = vault_of(settings)
    async with migrated_database(settings) as postgres:
        currency = settings.default_currency
        store = Store(postgres, await active(postgres), default_currency=currency)
        yield postgres, Release(postgres, store, EventLog(postgres, vault))


def _parked(projection: str, each: Parked) -> Json:
    return {
        "customerId": each.customer_id,
        "tenant": each.tenant,
        "version": each.version,
        "position": each.position,
        "reason": each.reason,
        "since": moment(each.since),
        "waiting": each.waiting,
        "projection": projection,
    }


def _outcome(outcome: Outcome) -> Json:
    stop = outcome.stop
    return {
        "customerId": outcome.customer_id,
        "tenant": outcome.tenant,
        "result": outcome.result,
        "eventsApplied": outcome.applied,
        "version": None if stop is None else stop.version,
        "position": None if stop is None else stop.position,
        "reason": None if stop is None else stop.reason,
    }


def _told(outcome: Outcome) -> str:
    name, applied = outcome.customer_id, f"applied {outcome.applied:,} events"
    match outcome.result:
        case "not_parked":
            return f"{name} is not parked."
        case "released":
            return f"{name} goes on: {applied}."
        case "still_parked":
            stop = outcome.stop
            assert stop is not None, "who is parked stops somewhere"
            where = f"version {stop.version}, position {stop.position}"
            return f"{name} is still parked, before {where}: {stop.reason}; {applied}."
