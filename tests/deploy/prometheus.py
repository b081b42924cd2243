"""What the tests ask of Prometheus' own tool, and what its expressions may name.

Invariant: an expression is parsed by Prometheus itself, never by us; we only compare the names in
it with what our code exports.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml

from tests.deploy.compose_file import ROOT
from tests.support.metric_names import series_names

ALERTS_FILE = ROOT / "deploy" / "prometheus" / "alerts.yml"
SCRAPE_FILE = ROOT / "deploy" / "prometheus" / "scrape.yml"
TOOL_SECONDS = 60
# What others export: Prometheus, kube-state-metrics, and prometheus-client about its process.
OF_OTHERS = {
    "up": {"job"},
    "kube_deployment_status_replicas_available": {"deployment"},
    "process_resident_memory_bytes": set[str](),
    "process_cpu_seconds_total": set[str](),
}
OF_SCRAPING = {"namespace", "instance", "job", "component"}  # labels that scrape.yml adds
SERIES = re.compile(r"\b([a-z][a-z0-9]*_[a-z0-9_]+|up)\b(?!\s*\()(\{[^}]*\})?")  # and no function
GROUPED = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")


def promtool(*arguments: str) -> str:
    """What it says. Skips the test where it is not there; fails the test where it finds fault."""
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool (Debian's package prometheus)")
    ended = subprocess.run(
        ["promtool", *arguments],
        timeout=TOOL_SECONDS,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def check_expressions(expressions: Iterable[str]) -> None:
    """Each parses, and names nothing that is not exported."""
    asked = list(expressions)
    rules = [
        {"record": "checked", "expr": each, "labels": {"number": str(number)}}
        for number, each in enumerate(asked)
    ]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "rules.yml"
        file.write_text(yaml.safe_dump({"groups": [{"name": "checked", "rules": rules}]}))
        promtool("check", "rules", str(file))
    for each in asked:
        assert unknown_names(each) == set(), each


def unknown_names(expression: str) -> set[str]:
    """Metrics that nobody exports, and labels that those in the expression do not have."""
    known = {**series_names(), **OF_OTHERS}
    bare = re.sub(r'"[^"]*"', '""', expression)
    unknown: set[str] = set()
    labels = set(OF_SCRAPING)
    for name, selector in SERIES.findall(bare):
        if name not in known:
            unknown.add(name)
            continue
        labels |= known[name]
        used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
        unknown |= {f"{name}{{{each}}}" for each in used - known[name] - OF_SCRAPING}
    grouped = {word for group in GROUPED.findall(bare) for word in re.findall(r"\w+", group)}
    return unknown | (grouped - labels)
