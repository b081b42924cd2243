"""The versions of a read model: which there are, which one is read, and the SQL of each.

Invariant: one version of a read model is active, and the views of `read_model` stand on it. A
version that is kept is what was read before; one that is building has never been read.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Literal, NamedTuple, TypeAlias

import structlog

from projections.checkpoint import CUSTOMERS, Projection
from service.postgres import Reader, load_statements

State: TypeAlias = Literal["building", "active", "kept", "dropped"]
SQL = load_statements("projections", "versions.sql")


class Version(NamedTuple):
    """One version of a read model, and what it is there for."""

    number: int
    state: State


@cache
def statements(file: str, version: int) -> Mapping[str, str]:
    """The statements of `sql/FILE`, as they are for one version of "customers"."""
    return {
        name: text.replace("{schema}", schema_of(version)).replace("{version}", str(version))
        for name, text in load_statements("projections", file).items()
    }


def schema_of(version: int) -> str:
    return f"{CUSTOMERS.name}_v{version}"


async def versions(reader: Reader, name: str = CUSTOMERS.name) -> list[Version]:
    """All there are, in the order of their numbers; none that was dropped."""
    return await reader.fetch(Version, SQL["versions"], name)


async def active(reader: Reader, name: str = CUSTOMERS.name) -> Projection:
    """The version that is read."""
    numbers = [each.number for each in await versions(reader, name) if each.state == "active"]
    assert len(numbers) == 1, "one version is active"
    return Projection(name, numbers[0])


async def kept_up_to_date(reader: Reader, name: str = CUSTOMERS.name) -> list[Projection]:
    """Versions that are fed, although they are not read."""
    numbers = await reader.fetch(int, SQL["kept_up_to_date"], name)
    return [Projection(name, number, is_unread=True) for number in numbers]


class Served:
    """The version that is read, for one worker that feeds whichever that is.

    Invariant: it is the worker's own, who follows between two batches only.
    """

    def __init__(self, reader: Reader, projection: Projection = CUSTOMERS) -> None:
        self._reader = reader
        self._projection = projection

    @property
    def name(self) -> str:
        return self._projection.name

    @property
    def version(self) -> int:
        return self._projection.version

    @property
    def is_unread(self) -> bool:
        return False

    async def is_current(self) -> bool:
        """Whether it is still the one."""
        return await active(self._reader, self.name) == self._projection

    async def follow(self) -> bool:
        """Look which version is read now; whether it is another one than before."""
        found = await active(self._reader, self.name)
        if found == self._projection:
            return False
        structlog.get_logger().info("version_followed", version=found.version)
        self._projection = found
        return True
