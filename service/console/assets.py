"""The files that pages load: one style sheet and one icon, by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple


class StaticFile(NamedTuple):
    """The same for everybody."""

    body: bytes
    media_type: str


_MEDIA_TYPES = {
    "console.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}

STATIC_FILES: Mapping[str, StaticFile] = {
    name: StaticFile((files("service.console") / "static" / name).read_bytes(), media_type)
    for name, media_type in _MEDIA_TYPES.items()
}
