"""The operator's own check, as one more witness: `customers verify --json`.

Invariant: its exit code and its findings must agree; both are told.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

from tests.chaos.findings import Findings
from tests.end_to_end.command import run
from tests.system.installation import Installation

COMMAND = ("verify", "--json")
UNKNOWN_COMMAND = 2  # the exit code for wrong use


async def check_by_command(system: Installation) -> Findings:
    findings = Findings()
    done = await asyncio.to_thread(run, system.folder, *COMMAND, **system.settings)
    if done.returncode == 0:
        return findings
    if done.returncode == UNKNOWN_COMMAND and "No such command" in done.stderr:
        return findings
    told = done.stdout or done.stderr
    with suppress(ValueError, KeyError):  # it failed before it could look: what it said, then
        told = json.dumps(json.loads(done.stdout)["findings"])
    findings.add("verify", f"exit code {done.returncode}: {told.strip()[:2_000]}")
    return findings
