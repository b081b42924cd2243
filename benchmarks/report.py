"""The report: a table for people, the same as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figures import Figure

RESULTS = Path(__file__).with_name("results")
_HEADERS = ("row", "rate", "p50 ms", "p99 ms", "ratio to bare", "target", "")


def describe_machine(postgres: str, kafka: str, command: str) -> dict[str, str]:
    """What must be the same for two reports to be compared."""
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": command,
        "processor": f"{os.cpu_count()} cores, {_processor()}",
        "memory": f"{gigabytes:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "postgres": postgres,
        "kafka": kafka,
    }


def markdown(machine: Mapping[str, str], customers: int, figures: Sequence[Figure]) -> str:
    lines = [f"# Benchmark with {customers:,} customers", ""]
    lines += [f"- {name}: {value}" for name, value in machine.items()]
    rows = [_HEADERS, *(_cells(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADERS))]
    lines += ["", _line(rows[0], widths), _line(["-" * width for width in widths], widths)]
    lines += [_line(row, widths) for row in rows[1:]]
    return "\n".join(lines) + "\n"


def save(
    machine: Mapping[str, str], customers: int, delivery: str | None, figures: Sequence[Figure]
) -> Path:
    """Write both forms beside each other; the path of the one for people. A delivery that was asked
    for has files of its own."""
    RESULTS.mkdir(exist_ok=True)
    document = {
        "customers": customers,
        "machine": dict(machine),
        "figures": [{**asdict(figure), "verdict": figure.verdict} for figure in figures],
    }
    file = RESULTS / (f"{customers}.md" if delivery is None else f"{customers}-{delivery}.md")
    file.write_text(markdown(machine, customers, figures), encoding="utf-8")
    text = json.dumps(document, indent=2, ensure_ascii=False)
    file.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    return file


def _cells(figure: Figure) -> tuple[str, ...]:
    rate = f"{figure.value:,.0f}" if figure.value >= 10 else f"{figure.value:.2f}"
    return (
        figure.title,
        f"{rate} {figure.unit}",
        "" if figure.p50_ms is None else f"{figure.p50_ms:.1f}",
        "" if figure.p99_ms is None else f"{figure.p99_ms:.1f}",
        "" if figure.ratio is None else f"{figure.ratio:.2f}",
        "" if figure.target is None else figure.target.text(),
        figure.verdict,
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"


def _processor() -> str:
    """Linux does not tell through Python."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or sys.platform
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.machine()
