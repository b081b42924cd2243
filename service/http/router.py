"""From a path to what answers it.

Invariant: a path is matched part by part as it came, percent-encoded, and decoded after that, so an
encoded slash never makes a new part. A trailing slash makes another path.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import unquote

Answering = TypeVar("Answering")


@dataclass(slots=True)
class Place(Generic[Answering]):
    """One path template: what answers it, by method."""

    template: str
    methods: dict[str, Answering] = field(default_factory=dict)

    @property
    def allowed(self) -> list[str]:
        return sorted(self.methods)


@dataclass(slots=True)
class _Node(Generic[Answering]):
    place: Place[Answering] | None = None
    literal: dict[str, _Node[Answering]] = field(default_factory=dict)
    any_part: _Node[Answering] | None = None


class Router(Generic[Answering]):
    """Routes of the form `/user/{customerId}`. A literal part wins over one in braces."""

    def __init__(self) -> None:
        self._root: _Node[Answering] = _Node()

    def add(self, method: str, template: str, answering: Answering) -> None:
        """GET answers HEAD too."""
        node = self._root
        for part in template.split("/")[1:]:
            if part.startswith("{"):
                node.any_part = node.any_part or _Node()
                node = node.any_part
            else:
                node = node.literal.setdefault(part, _Node())
        node.place = node.place or Place(template)
        assert method not in node.place.methods, f"{method} {template} is there twice"
        node.place.methods[method] = answering
        if method == "GET":
            node.place.methods["HEAD"] = answering

    def find(self, raw_path: str) -> tuple[Place[Answering], list[str]] | None:
        """The place, and the decoded parts that stand in braces, in order."""
        node = self._root
        found: list[str] = []
        for part in raw_path.split("/")[1:]:
            child = node.literal.get(part)
            if child is None:
                child = node.any_part
                if child is None or not part:
                    return None
                found.append(unquote(part) if "%" in part else part)
            node = child
        return None if node.place is None else (node.place, found)
