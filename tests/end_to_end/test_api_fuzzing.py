"""Thousands of requests made up from the served description find nothing that contradicts it.

Valid and invalid ones, in sequences too: no server error, no status, header or body that is not
described, nothing accepted that the description forbids, nothing refused that it allows, no answer
without a token, nothing left of what was deleted.
"""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.support.api import running_api

CONFIGURATION = Path(__file__).parent / "schemathesis.toml"
FUZZING_SECONDS = 40
GIVE_UP_SECONDS = 100
SEED = 1  # what fails once fails again


@pytest.mark.timeout(GIVE_UP_SECONDS + 20)
async def test_nothing_contradicts_the_description(database: str, tmp_path: Path) -> None:
    async with running_api(database) as api:
        assert api.token is not None
        fuzzing = await asyncio.create_subprocess_exec(
            *(str(Path(sys.executable).with_name("schemathesis")), "--no-color"),
            *("--config-file", str(CONFIGURATION), "run", f"{api.url}/openapi.json"),
            *("--max-time", str(FUZZING_SECONDS), "--seed", str(SEED), "--continue-on-failure"),
            cwd=tmp_path,
            env={**os.environ, "TOKEN": api.token},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                output, _ = await fuzzing.communicate()
        finally:
            if fuzzing.returncode is None:
                fuzzing.kill()
                await fuzzing.wait()
    assert fuzzing.returncode == 0, output.decode()
