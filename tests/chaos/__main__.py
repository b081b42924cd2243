"""`python -m tests.chaos --minutes N --seed S [--report FILE]`: 0 where nothing was found, else 1.

The same seed draws the same faults at the same times and the same wishes of the writers; what
comes of them is the machine's business.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from random import SystemRandom

from tests.chaos.load import Size
from tests.chaos.report import Report
from tests.chaos.run import Run

MINUTES = 4.0
SEED_MAX = 999_999
USUAL = Size()
DELIVERIES = ("exactly-once", "at-least-once")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of load and faults")
    parser.add_argument("--seed", type=int, default=None, help="draws faults and wishes")
    parser.add_argument("--orders", type=int, default=USUAL.orders_per_second, help="a second")
    parser.add_argument("--writes", type=float, default=USUAL.writes_per_second, help="a second")
    parser.add_argument("--delivery", choices=DELIVERIES, default="", help="of the relay")
    parser.add_argument("--report", type=Path, default=None, help="gets .md and .json")
    parser.add_argument("--logs", type=Path, default=None, help="folder for the roles' logs")
    given = parser.parse_args()
    seed = SystemRandom().randint(1, SEED_MAX) if given.seed is None else given.seed
    command = f"make chaos MINUTES={given.minutes:g} SEED={seed}"
    more = [
        f"--{name} {value}"
        for name, value, usual in (
            ("orders", given.orders, USUAL.orders_per_second),
            ("writes", given.writes, USUAL.writes_per_second),
            ("delivery", given.delivery, ""),
        )
        if value != usual
    ]
    command += f" ARGS='{' '.join(more)}'" if more else ""
    _tell(f"seed {seed}: again with {command}")
    size = Size(orders_per_second=given.orders, writes_per_second=given.writes)
    run = Run(seed, given.minutes * 60, size, _tell, command=command, delivery=given.delivery)
    report = asyncio.run(run.run())
    if given.logs is not None:
        run.save_logs(given.logs)
    return _end(report, given.report)


def _end(report: Report, file: Path | None) -> int:
    sys.stdout.write(report.markdown())
    if file is not None:
        report.save(file)
    return 0 if report.is_good else 1


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
