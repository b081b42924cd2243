"""The report: the same for people and for programs.

Invariant: the verdict follows from the findings alone.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import orjson

from tests.chaos.findings import KINDS, Findings


@dataclass
class Report:
    seed: int
    minutes: float
    command: str
    servers: list[str]
    delivery: str
    seconds: dict[str, float] = field(default_factory=dict)  # by phase
    events: int = 0
    writes: dict[str, int] = field(default_factory=dict)
    orders: dict[str, int] = field(default_factory=dict)
    topic: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)

    @property
    def is_good(self) -> bool:
        return not self.findings

    @property
    def verdict(self) -> str:
        if self.is_good:
            return "nothing lost, nothing twice, nothing out of order"
        return f"{self.findings.counts.total()} findings"

    def machine(self) -> dict[str, str]:
        gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        return {
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "command": self.command,
            "machine": f"{os.cpu_count()} cores, {gigabytes:.0f} GiB, {platform.system()}"
            f" {platform.release()}, Python {platform.python_version()}",
            "servers": ", ".join(self.servers),
            "delivery": self.delivery,
        }

    def markdown(self) -> str:
        lines = [f"# Chaos with seed {self.seed}: {self.verdict}", ""]
        lines += [f"- {name}: {value}" for name, value in self.machine().items()]
        lines += [f"- left out here: {', '.join(self.left_out)}"] if self.left_out else []
        tables: Mapping[str, Mapping[str, float]] = {
            "seconds": self.seconds,
            "events in the log": {"all": self.events},
            "writes over HTTP": self.writes,
            "orders from the shop": self.orders,
            "records read from the topic": self.topic,
            "faults": self.faults,
            "findings": {kind: self.findings.counts[kind] for kind in KINDS},
        }
        for title, table in tables.items():
            lines += ["", *_table(title, table)]
        for kind, texts in self.findings.texts.items():
            lines += ["", f"{kind}: {KINDS[kind]}", "", *(f"- {text}" for text in texts)]
        return "\n".join(lines) + "\n"

    def save(self, file: Path) -> None:
        """As `file`, and beside it as JSON."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_suffix(".md").write_text(self.markdown(), encoding="utf-8")
        document = {
            "seed": self.seed,
            "verdict": self.verdict,
            "good": self.is_good,
            **self.machine(),
            "minutes": self.minutes,
            "seconds": self.seconds,
            "events": self.events,
            "writes": self.writes,
            "orders": self.orders,
            "topic": self.topic,
            "faults": self.faults,
            "leftOut": self.left_out,
            "findings": {kind: self.findings.counts[kind] for kind in KINDS},
            "texts": self.findings.texts,
        }
        text = orjson.dumps(document, option=orjson.OPT_INDENT_2)
        file.with_suffix(".json").write_bytes(text + b"\n")


def _table(title: str, table: Mapping[str, float]) -> list[str]:
    rows = [
        (name, f"{value:,.1f}" if isinstance(value, float) else f"{value:,}")
        for name, value in table.items()
    ]
    wide = max(len(title), *(len(name) for name, _ in rows)) if rows else len(title)
    number = max((len(value) for _, value in rows), default=1)
    lines = [f"| {title:<{wide}} | {'':>{number}} |", f"|-{'-' * wide}-|-{'-' * number}:|"]
    return lines + [f"| {name:<{wide}} | {value:>{number}} |" for name, value in rows]
