"""A shop and its intake's topics, and the commands that an operator runs about them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.end_to_end.command import run
from tests.support.orders import Shop


@dataclass
class Installation:
    """A shop, and what its commands are told."""

    shop: Shop
    folder: Path
    settings: dict[str, str]

    def run(self, *arguments: str) -> tuple[int, str, list[str]]:
        result = run(self.folder, *arguments, **self.settings)
        return result.returncode, result.stdout, result.stderr.splitlines()

    async def status(self) -> Any:
        """As programs read it."""
        _, stdout, _ = await asyncio.to_thread(self.run, "status", "--json")
        return json.loads(stdout)

    async def status_lines(self) -> dict[str, list[str]]:
        """As people read it, by the first column."""
        _, stdout, _ = await asyncio.to_thread(self.run, "status")
        rows = [line.split("\t") for line in stdout.splitlines()]
        return {row[0]: row[1:] for row in rows}
