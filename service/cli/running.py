"""What every command needs to run: its settings, and a loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from service.settings import Settings

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


def settings_of() -> Settings:
    """Raises ConfigurationError."""
    from service.settings import read_settings

    return read_settings()


def run(command: Coroutine[None, None, None]) -> None:
    import asyncio
    import logging

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what fails, one sentence says
    asyncio.run(command)
