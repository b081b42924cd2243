"""The operator's own check, as one more witness: `customers verify --json`.

Invariant: its exit code and its findings must agree; both are told.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from contextlib import suppress

from tests.chaos.findings import Findings
from tests.end_to_end.command import PROGRAM, environment
from tests.system.installation import Installation

COMMAND = (*PROGRAM, "verify", "--json")
TIMEOUT_SECONDS = 1_200.0  # a million events, on a machine that does other things too


async def check_by_command(system: Installation) -> Findings:
    findings = Findings()
    done = await asyncio.to_thread(_run, system)
    if done.returncode == 0:
        return findings
    told = done.stdout or done.stderr
    with suppress(ValueError, KeyError):  # it failed before it could look: what it said, then
        told = json.dumps(json.loads(done.stdout)["findings"])
    findings.add("verify", f"exit code {done.returncode}: {told.strip()[:2_000]}")
    return findings


def _run(system: Installation) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        COMMAND,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
        cwd=system.folder,
        env=environment(system.folder, system.settings),
    )
