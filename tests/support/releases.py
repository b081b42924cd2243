"""Later releases of this code: copies of it, each with the change that an upgrade is about.

`customer.created` gets a version 2, in which `firstName`, which is personal, is `givenName`, in the
two steps of docs/operations.md: READS_IT knows version 2 and still writes 1; WRITES_IT writes 2.

Invariant: a release goes through the mechanism of the service, UPCASTERS and DOWNCASTERS, and what
is not named here is as it stands in this tree. This tree itself is the old release.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("service", "projections")
OLD_TYPE, NEW_TYPE = "customer.created.v1", "customer.created.v2"

_MODEL = '''    type: ClassVar[str] = "customer.created"
    schema_version: ClassVar[int] = 1
    email: PersonalText
    """Lower-cased whole; unique per tenant among living customers."""
    first_name: TypedText = None
'''
_NEW_MODEL = '''    type: ClassVar[str] = "customer.created"
    schema_version: ClassVar[int] = 2
    email: PersonalText
    """Lower-cased whole; unique per tenant among living customers."""
    first_name: TypedText = Field(None, alias="givenName")
'''
_UPCASTERS = "UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}\n"
_NEW_UPCASTERS = """def _renamed(data: dict[str, Json], old: str, new: str) -> dict[str, Json]:
    return {new if name == old else name: value for name, value in data.items()}


UPCASTERS: Mapping[tuple[str, int], Upcaster] = {
    ("customer.created", 1): lambda data: _renamed(data, "firstName", "givenName"),
}
"""
_DOWNCASTERS = "DOWNCASTERS: Mapping[tuple[str, int], Upcaster] = {}\n"
_NEW_DOWNCASTERS = """DOWNCASTERS: Mapping[tuple[str, int], Upcaster] = {
    ("customer.created", 2): lambda data: _renamed(data, "givenName", "firstName"),
}
"""

Changes = Mapping[str, Mapping[str, str]]  # by file: what stands there, and what stands there then

WRITES_IT: Changes = {
    "service/events/models.py": {_MODEL: _NEW_MODEL},
    "service/upcasters.py": {f"\n{_UPCASTERS}": f"\n{_NEW_UPCASTERS}"},
}
READS_IT: Changes = {
    **WRITES_IT,
    "service/upcasters.py": {
        **WRITES_IT["service/upcasters.py"],
        _DOWNCASTERS: _NEW_DOWNCASTERS,
    },
}


def released(folder: Path, changes: Changes) -> Path:
    """A copy of this tree's packages with the changes: a place to import them from."""
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    for name, replaced in changes.items():
        path = folder / name
        text = path.read_text(encoding="utf-8")
        for old, new in replaced.items():
            assert text.count(old) == 1, f"{name} has changed: {old!r}"
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
    return folder
