"""A short chaos with a fixed seed: every fault at least once, and nothing is found; and then, with
its evidence tampered with, something is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.chaos import plan
from tests.chaos.findings import Findings
from tests.chaos.journal import Write
from tests.chaos.judgement import Evidence
from tests.chaos.load import Size
from tests.chaos.log import Log
from tests.chaos.run import Run

SEED = 2_026
SECONDS = 40.0
SIZE = Size(
    writer_processes=2, writes_per_second=60, orders_per_second=400, customers=80, victims=10
)
# Servers and roles are started, the read model catches up, and everything is looked at.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
async def run() -> Run:
    told: list[str] = []
    run = Run(SEED, SECONDS, SIZE, told.append)
    await run.run()
    return run


@pytest.fixture
def evidence(run: Run) -> Evidence:
    assert run.evidence is not None
    return run.evidence


async def test_nothing_is_lost_doubled_or_out_of_order(run: Run) -> None:
    report = run.report
    assert report.is_good, report.markdown()
    planned = plan.draw(SEED, SECONDS, real_kafka=not report.left_out)
    assert report.faults.keys() == {fault.name for fault in planned}
    assert report.writes["acknowledged"] > 0
    assert report.writes["ambiguous, then resolved by repeating"] > 0


def a_write(evidence: Evidence) -> Write:
    """One that made an event, and is the last thing that its customer's history shows."""
    ids = evidence.histories.keys()
    found = [
        write
        for write in evidence.writes
        if write.kind == "update" and write.is_acknowledged and write.customer_id in ids
    ]
    return found[-1]


def without(log: Log, request_id: str) -> Log:
    left = {name: rows for name, rows in log.requested.items() if name != request_id}
    return _copied(log, left)


def _copied(log: Log, requested: dict[str, list[object]]) -> Log:
    copy = Log()
    copy.identities, copy.versions = log.identities, log.versions
    copy.orders, copy.requested = dict(log.orders), requested
    return copy


def an_acknowledged_write_is_removed(evidence: Evidence) -> Evidence:
    write = a_write(evidence)
    carried_out = {each.request_id for each in write.attempts} & evidence.log.requested.keys()
    return replace(evidence, log=without(evidence.log, *carried_out))


def a_write_is_carried_out_twice(evidence: Evidence) -> Evidence:
    write = a_write(evidence)
    rows = next(
        evidence.log.requested[each.request_id]
        for each in write.attempts
        if each.request_id in evidence.log.requested
    )
    again = replace(write, attempts=[*write.attempts, replace(write.last, request_id="again")])
    writes = [again if each is write else each for each in evidence.writes]
    log = _copied(evidence.log, {**evidence.log.requested, "again": rows})
    return replace(evidence, writes=writes, log=log)


def an_order_is_removed(evidence: Evidence) -> Evidence:
    log = _copied(evidence.log, evidence.log.requested)
    log.orders.popitem()
    return replace(evidence, log=log)


def two_events_are_swapped_in_the_topic(evidence: Evidence) -> Evidence:
    seen = evidence.seen["late subscriber"]
    identities = seen.identities[:]
    identities[0], identities[1] = identities[1], identities[0]
    return replace(
        evidence, seen={**evidence.seen, "late subscriber": replace(seen, identities=identities)}
    )


def an_event_is_removed_from_the_topic(evidence: Evidence) -> Evidence:
    seen = evidence.seen["subscriber"]
    identities = seen.identities[:]
    identities[len(identities) // 2] = 0
    return replace(
        evidence, seen={**evidence.seen, "subscriber": replace(seen, identities=identities)}
    )


def a_roll_up_is_altered(evidence: Evidence) -> Evidence:
    customer_id, document = next(
        (name, document) for name, document in evidence.shown.items() if document is not None
    )
    altered = {**document, "totalSpent": document["totalSpent"] + 1}
    return replace(evidence, shown={**evidence.shown, customer_id: altered})


def a_total_is_altered(evidence: Evidence) -> Evidence:
    count, spent = evidence.totals["USD"]
    return replace(evidence, totals={**evidence.totals, "USD": (count, spent - 1)})


def an_event_is_changed_in_a_history(evidence: Evidence) -> Evidence:
    customer_id = a_write(evidence).customer_id
    events = evidence.histories[customer_id]
    altered = [dict(each) for each in events]
    altered[0] = {**altered[0], "data": {**altered[0]["data"], "email": "joe@example.com"}}
    return replace(evidence, histories={**evidence.histories, customer_id: altered})


@pytest.mark.parametrize(
    ("tamper", "kind"),
    [
        (an_acknowledged_write_is_removed, "lost"),
        (a_write_is_carried_out_twice, "twice"),
        (an_order_is_removed, "lost"),
        (two_events_are_swapped_in_the_topic, "wrong"),
        (an_event_is_removed_from_the_topic, "lost"),
        (a_roll_up_is_altered, "roll-ups"),
        (a_total_is_altered, "roll-ups"),
        (an_event_is_changed_in_a_history, "wrong"),
    ],
)
async def test_evidence_that_was_tampered_with(
    evidence: Evidence, tamper: Callable[[Evidence], Evidence], kind: str
) -> None:
    assert not evidence.judge()
    found: Findings = tamper(evidence).judge()
    assert kind in found.counts


def every_plan() -> Iterator[list[plan.Fault]]:
    for seed in range(50):
        yield plan.draw(seed, 600.0, real_kafka=True)


def test_every_plan_has_every_fault_and_one_wipe() -> None:
    for faults in every_plan():
        assert {(fault.kind, fault.target) for fault in faults} == set(plan.EVERY)
        assert [fault.name for fault in faults].count("wipe broker") == 1
        assert any(
            fault.name == "pause relay" and fault.seconds > plan.LEASE_SECONDS for fault in faults
        )
        assert faults == sorted(faults)


def test_a_seed_draws_the_same_again() -> None:
    assert plan.draw(7, 60.0, real_kafka=True) == plan.draw(7, 60.0, real_kafka=True)
    assert plan.draw(7, 60.0, real_kafka=True) != plan.draw(8, 60.0, real_kafka=True)


def test_what_the_stand_in_cannot_is_left_out_by_name() -> None:
    names = {fault.name for fault in plan.draw(7, 60.0, real_kafka=False)}
    left_out = plan.left_out(real_kafka=False)
    assert names.isdisjoint(left_out)
    assert names | set(left_out) == {f"{kind} {target}" for kind, target in plan.EVERY}
