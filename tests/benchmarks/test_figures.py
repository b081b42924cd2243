"""What the benchmark makes of its numbers: a wrong sum there would look like a fast service."""

from __future__ import annotations

import pytest

from benchmarks.figures import DEPTH, INTAKE, LIST, RELAY, VISIBLE, Figure
from benchmarks.pipeline import Look, done_in
from benchmarks.report import markdown
from benchmarks.visibility import percentile, seen_at
from benchmarks.wrk import LoadFailed, parse_summary

SUMMARY = (
    '{"requests":%d,"duration_us":2000000,"p50_us":3500,"p99_us":9000,"refused":%d,"broken":%d}'
)


def test_a_floor_is_met_at_its_limit_and_a_ceiling_is_not() -> None:
    assert Figure("list", "", 1, "requests/s", ratio=0.25, target=LIST).verdict == "met"
    assert Figure("list", "", 1, "requests/s", ratio=0.249, target=LIST).verdict == "short"
    assert Figure("visible", "", 1, "writes/s", p99_ms=99.9, target=VISIBLE).verdict == "met"
    assert Figure("visible", "", 1, "writes/s", p99_ms=100, target=VISIBLE).verdict == "short"
    assert Figure("relay", "", 30_000, "events/s", target=RELAY).verdict == "met"
    assert Figure("intake", "", 19_999, "messages/s", target=INTAKE).verdict == "short"
    assert Figure("depth", "", 0.89, "of page 1", target=DEPTH).verdict == "short"


def test_load_is_counted_from_the_last_line() -> None:
    load = parse_summary("Running 2s test\n" + SUMMARY % (8_000, 0, 0))
    assert (load.per_second, load.p50_ms, load.p99_ms) == (4_000, 3.5, 9.0)


@pytest.mark.parametrize("counts", [(8_000, 1, 0), (8_000, 0, 1), (0, 0, 0)])
def test_a_load_with_refusals_or_without_answers_gives_no_figure(
    counts: tuple[int, int, int],
) -> None:
    with pytest.raises(LoadFailed):
        parse_summary(SUMMARY % counts)


def test_a_rate_runs_from_the_first_move_to_the_slowest_partitions_end() -> None:
    looks = [
        Look(10.0, 100, 100),
        Look(11.0, 150, 300),  # the first that moved: 300 of 1,100
        Look(12.0, 900, 1_100),  # one partition is there, another is not
        Look(13.0, 1_100, 1_100),
    ]
    assert done_in(looks, start=100, end=1_100).per_second == 400
    with pytest.raises(LoadFailed):
        done_in(looks[:3], start=100, end=1_100)


def test_a_position_is_visible_when_it_or_a_later_one_was_seen() -> None:
    shown = [(5, 1.0), (9, 2.0), (12, 3.0)]
    assert [seen_at(shown, position) for position in (5, 6, 9, 12)] == [1.0, 2.0, 2.0, 3.0]


def test_percentiles_are_numbers_that_occurred() -> None:
    numbers = [float(number) for number in range(100, 0, -1)]
    assert (percentile(numbers, 0.5), percentile(numbers, 0.99)) == (51.0, 100.0)
    assert percentile([7.0], 0.99) == 7.0


def test_the_report_names_target_and_verdict_beside_the_figure() -> None:
    figure = Figure("tag", "list by tag", 4_321, "requests/s", 1.2, 3.4, 0.31, LIST)
    row = markdown({"python": "CPython"}, 1_000_000, [figure]).splitlines()[-1]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [
        *("list by tag", "4,321 requests/s", "1.2", "3.4", "0.31"),
        *("≥ 0.25 at 1,000,000", "met"),
    ]
