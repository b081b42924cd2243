"""A projection as its module has it: a name, a version, a row, what an event does to it, a table.

Invariant: what is loaded here is whole. A module that lacks something, or whose name could be
mistaken for another's, ends the start with one sentence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from types import ModuleType

from pydantic import TypeAdapter
from pydantic_core import to_json

from projections.checkpoint import CUSTOMERS, Projection
from projections.derived.fold import Evolve, Row
from service.errors import ConfigurationError, Corrupt

RESERVED = frozenset({CUSTOMERS.name, "states"})
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def table_of(projection: Projection) -> str:
    """Its table's name in schema `derived`, and its own in metrics and in `status`."""
    return f"{projection.name}_v{projection.version}"


@dataclass(frozen=True)
class Derived:
    """One version of one projection."""

    projection: Projection
    row: type[Row]
    evolve: Evolve
    sql: str  # makes the table

    @property
    def name(self) -> str:
        return self.projection.name

    @property
    def key(self) -> tuple[str, int]:
        return self.projection.name, self.projection.version

    @property
    def table(self) -> str:
        return table_of(self.projection)

    @cached_property
    def fields(self) -> tuple[str, ...]:
        return tuple(self.row.__annotations__)

    @property
    def shape(self) -> str:
        """Another one needs another version."""
        return sha256("\n".join([self.sql, *self.fields]).encode()).hexdigest()

    @cached_property
    def _reader(self) -> TypeAdapter[Row]:
        return TypeAdapter(self.row)

    def read(self, text: str) -> Row:
        """A stored row. Raises ConfigurationError where it is none of this module's."""
        try:
            return self._reader.validate_json(text)
        except ValueError as error:
            raise ConfigurationError(
                f"derived.{self.table} holds a row that does not fit {self.name}'s Row: raise its"
                " VERSION whenever the row or what makes it changes"
            ) from error

    def written(self, row: Row, customer_id: str, tenant: str) -> str:
        """A row as JSON. Raises Corrupt for what is no row, or has a value that has no JSON."""
        if not isinstance(row, self.row):
            raise Corrupt(f"what {self.name} made of an event is no Row")
        keyed = {**row._asdict(), "customer_id": customer_id, "tenant": tenant}
        try:
            return to_json(keyed, inf_nan_mode="strings").decode()
        except ValueError as error:
            raise Corrupt(f"a row of {self.table} has a value that cannot be stored") from error


def load_modules(names: Sequence[str]) -> dict[str, Derived]:
    """By the projections' names. Raises ConfigurationError."""
    found: dict[str, Derived] = {}
    for each in map(_load, names):
        if each.name in found:
            raise ConfigurationError(f"two modules make the projection {each.name}")
        found[each.name] = each
    return found


def _load(module_name: str) -> Derived:
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise ConfigurationError(f"CUSTOMERS_PROJECTION_MODULES: {error}") from error
    missing = [each for each in ("NAME", "VERSION", "Row", "evolve") if not hasattr(module, each)]
    if missing:
        raise ConfigurationError(f"the module {module_name} has no {', '.join(missing)}")
    projection = Projection(str(module.NAME), int(module.VERSION))
    derived = Derived(projection, module.Row, module.evolve, _sql_beside(module))
    if _NAME.fullmatch(derived.name) is None or derived.name in RESERVED:
        raise ConfigurationError(
            f"{module_name}: NAME takes a lower-case letter and up to 39 of a-z, 0-9 and _, and is"
            f" none of {', '.join(sorted(RESERVED))}"
        )
    if projection.version < 1 or not hasattr(derived.row, "_asdict") or not derived.fields:
        raise ConfigurationError(f"{module_name}: VERSION is 1 or more, Row a NamedTuple of fields")
    return derived


def _sql_beside(module: ModuleType) -> str:
    if module.__file__ is None:
        raise ConfigurationError(f"the module {module.__name__} is not a file")
    path = Path(module.__file__).with_suffix(".sql")
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path} makes the table, and cannot be read") from error
