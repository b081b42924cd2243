"""The judge of writes is none that lets everything pass: whatever is tampered with, it says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.chaos.a_story import CREATED, EPOCH, UPDATED, a_write, rows, writes
from tests.chaos.check_writes import check_writes
from tests.chaos.journal import Attempt, Write, load, save
from tests.chaos.log import Log, Row


def judged(given: Sequence[Write], lying: Sequence[Row]) -> set[str]:
    log = Log(lying)
    log.findings.add_all(check_writes(given, log, (), EPOCH))
    return set(log.findings.counts)


def test_of_what_is_right_nothing_is_said() -> None:
    assert judged(writes(), rows()) == set()


@pytest.mark.parametrize(
    ("tamper", "kind"),
    [
        (lambda log: log.pop(), "lost"),
        (lambda log: log.append(log[2]._replace(position=4, version=4, request_id="2.1")), "twice"),
        (lambda log: log.insert(1, log.pop()), "out of order"),
        (lambda log: log.append(Row(4, "cust_1", 5, UPDATED, "2.0")), "out of order"),
        (lambda log: log.append(Row(4, "cust_2", 1, CREATED, "3.0")), "left a trace"),
        (lambda log: log.append(Row(4, "cust_2", 1, CREATED, "4.0")), "left a trace"),
        (lambda log: log.append(Row(4, "cust_2", 1, CREATED, "x")), "wrong"),
    ],
    ids=("removed", "repeated", "swapped", "a hole", "refused", "replayed", "nobody's"),
)
def test_a_log_that_was_tampered_with(tamper: Callable[[list[Row]], object], kind: str) -> None:
    log = rows()
    tamper(log)
    assert kind in judged(writes(), log)


@pytest.mark.parametrize(
    ("place", "name", "value", "kind"),
    [
        (0, "position", 2, "wrong"),
        (1, "version", 4, "wrong"),
        (1, "epoch", "another", "wrong"),
        (1, "fault", "shown otherwise", "wrong"),
        (1, "if_match", 1, "out of order"),
        (1, "attempts", [Attempt("2.0", 500, "internal_error")], "answered wrongly"),
        (1, "attempts", [Attempt("2.0", 404, "customer_not_found")], "answered wrongly"),
        (1, "attempts", [Attempt("2.0", 0)], "unanswered"),
        (2, "allowed", [""], "answered wrongly"),
        (3, "is_replayed", False, "wrong"),
        (3, "version", 2, "wrong"),
    ],
)
def test_answers_that_were_not_right(place: int, name: str, value: object, kind: str) -> None:
    given = writes()
    setattr(given[place], name, value)
    assert kind in judged(given, rows())


def test_an_ambiguous_refusal_may_have_left_one_trace_and_not_two() -> None:
    refused = a_write("create", 5, 503, 409, allowed=["email_taken"])
    one = Row(4, "cust_2", 1, CREATED, "5.0")
    assert judged([*writes(), refused], [*rows(), one]) == set()
    other = one._replace(position=5, customer_id="cust_3", request_id="5.1")
    assert judged([*writes(), refused], [*rows(), one, other]) == {"twice"}


def test_a_journal_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    save(file, writes())
    assert load(file) == writes()
