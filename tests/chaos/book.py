"""How a customer looks, as worked out by whoever writes to it, after the documents alone.

Invariant: nothing here is the service's; what it shows is compared with `visible` of an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

Json: TypeAlias = dict[str, object]

NAMES = ("firstName", "lastName", "phone")
VISIBLE = ("email", *NAMES, "tags", "metadata", "active", "addresses")


def visible(document: Mapping[str, object]) -> Json:
    """What callers decide about a customer; the order of tags is nobody's promise."""
    shown = {name: document[name] for name in VISIBLE}
    return {**shown, "tags": sorted(strings(document["tags"]), key=str.lower)}


@dataclass
class Customer:
    """One customer, as its caller last made it."""

    id: str = ""
    email: str = ""
    names: dict[str, object] = field(default_factory=lambda: dict.fromkeys(NAMES))
    tags: list[str] = field(default_factory=list)
    metadata: Json = field(default_factory=dict)
    addresses: list[Json] = field(default_factory=list)
    active: bool = True
    is_deleted: bool = False
    version: int = 0  # as last answered; orders move it on

    @property
    def path(self) -> str:
        return f"/user/{self.id}"

    def shown(self) -> Json:
        return {
            "email": self.email,
            **self.names,
            "tags": sorted(self.tags, key=str.lower),
            "metadata": dict(self.metadata),
            "active": self.active,
            "addresses": [dict(each) for each in self.addresses],
        }

    def patch(self, body: Mapping[str, object]) -> None:
        """JSON Merge Patch: absent stays, null clears, tags replace, metadata merges by key."""
        self.email = str(body.get("email", self.email))
        self.names |= {name: body[name] for name in NAMES if name in body}
        self.active = bool(body.get("active", self.active))
        if "tags" in body:
            self.tags = union([], strings(body["tags"]), known=self.tags)
        given = body.get("metadata", {})
        assert isinstance(given, dict)
        merged = {**self.metadata, **given}
        self.metadata = {name: value for name, value in merged.items() if value is not None}

    def tag(self, tags: Iterable[str]) -> None:
        self.tags = union(self.tags, tags)

    def untag(self, tag: str) -> None:
        self.tags = [each for each in self.tags if each.lower() != tag.lower()]

    def add_address(self, address: Json) -> None:
        """As answered; one with the mark takes it from the one before."""
        if address["isDefault"]:
            self.addresses = [{**each, "isDefault": False} for each in self.addresses]
        self.addresses = [*self.addresses, address]

    def remove_address(self, address_id: object) -> None:
        """Where the default goes, the oldest left takes its place."""
        left = [each for each in self.addresses if each["id"] != address_id]
        if left and not any(each["isDefault"] for each in left):
            left[0] = {**left[0], "isDefault": True}
        self.addresses = left


def union(before: Iterable[str], more: Iterable[str], known: Iterable[str] = ()) -> list[str]:
    """Compared without regard to case; the first spelling stays, that of `known` too."""
    spelling = {each.lower(): each for each in known}
    merged = {each.lower(): each for each in before}
    for each in more:
        merged.setdefault(each.lower(), spelling.get(each.lower(), each))
    return list(merged.values())


def strings(value: object) -> list[str]:
    assert isinstance(value, list)
    return [str(each) for each in value]
