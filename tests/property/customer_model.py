"""One customer as the documentation describes it: what every change makes of its fields.

Invariant: fields are held as JSON shows them. What a call types is put into its kept form here,
once, by the plainest code that does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

NULLABLE = ("firstName", "lastName", "phone")
ADDRESS_TEXTS = ("label", "line1", "city", "state", "postalCode")


class Refusal(Exception):
    """What a call is refused with; `faults` by pointer."""

    def __init__(
        self,
        status: int,
        code: str,
        faults: dict[str, str] | None = None,
        current_version: int | None = None,
    ) -> None:
        super().__init__(status, code)
        self.status = status
        self.code = code
        self.faults = faults or {}
        self.current_version = current_version


@dataclass
class Held:
    """A customer. `position` is that of its last event."""

    id: str
    tenant: str
    fields: dict[str, Json]
    version: int = 0
    position: int = 0
    is_deleted: bool = False

    @property
    def addresses(self) -> list[dict[str, Json]]:
        held: list[dict[str, Json]] = self.fields["addresses"]
        return held

    def address(self, address_id: str) -> dict[str, Json]:
        for address in self.addresses:
            if address["id"] == address_id:
                return address
        raise Refusal(404, "address_not_found")


def created(tenant: str, body: dict[str, Json], made: dict[str, Json]) -> Held:
    """A new customer; its id and those of its addresses are the ones in `made`."""
    empty = {"tags": [], "metadata": {}, "addresses": [], "active": True}
    fields = {**dict.fromkeys(NULLABLE), **empty, "email": kept_email(body["email"])}
    held = Held(made.get("id", ""), tenant, fields)
    given = {name: value for name, value in body.items() if value is not None}
    addresses = given.pop("addresses", [])
    patch(held, given)
    ids = [address["id"] for address in made.get("addresses", ())]
    assert len(ids) == len(addresses) or not made
    for address_id, address in zip(ids, addresses, strict=False):
        add_address(held, address_id, address)
    return held


def patch(held: Held, body: dict[str, Json]) -> int:
    """RFC 7396, and how many events it takes: own fields, tags in, tags out, activity."""
    if "addresses" in body and body["addresses"] != held.addresses:
        raise Refusal(422, "validation_failed", {"/addresses": "use_address_endpoints"})
    fields = held.fields
    new = {name: kept_text(body[name]) for name in NULLABLE if name in body}
    if "email" in body:
        new["email"] = kept_email(body["email"])
    if "metadata" in body:
        merged = {} if body["metadata"] is None else {**fields["metadata"], **body["metadata"]}
        new["metadata"] = {key: value for key, value in merged.items() if value is not None}
    events = 0
    if any(exact(value) != exact(fields[name]) for name, value in new.items()):
        fields.update(new)
        events += 1
    if "tags" in body:
        wanted = body["tags"] or []
        left = {tag.strip().casefold() for tag in wanted}
        events += tag(held, wanted)
        events += untag(held, [each for each in fields["tags"] if each.casefold() not in left])
    if body.get("active", fields["active"]) != fields["active"]:
        fields["active"] = body["active"]
        events += 1
    return events


def tag(held: Held, tags: list[str]) -> int:
    before = len(held.fields["tags"])
    for each in tags:
        if each.strip().casefold() not in {one.casefold() for one in held.fields["tags"]}:
            held.fields["tags"].append(each.strip())
    return int(len(held.fields["tags"]) > before)


def untag(held: Held, tags: list[str]) -> int:
    gone = {each.casefold() for each in tags}
    left = [each for each in held.fields["tags"] if each.casefold() not in gone]
    is_changed = left != held.fields["tags"]
    held.fields["tags"] = left
    return int(is_changed)


def add_address(held: Held, address_id: str, body: dict[str, Json]) -> None:
    address = {"id": address_id, **dict.fromkeys(ADDRESS_TEXTS), **kept_address(body)}
    address["isDefault"] = False
    held.addresses.append(address)
    if body.get("isDefault") or len(held.addresses) == 1:
        mark(held, address_id)


def patch_address(held: Held, address_id: str, body: dict[str, Json]) -> int:
    address = held.address(address_id)
    if address["isDefault"] and body.get("isDefault") is False:
        raise Refusal(422, "validation_failed", {"/isDefault": "default_required"})
    before = dict(address)
    address.update(kept_address(body))
    if body.get("isDefault"):
        mark(held, address_id)
    return int(address != before)


def remove_address(held: Held, address_id: str) -> None:
    address = held.address(address_id)
    held.addresses.remove(address)
    if address["isDefault"] and held.addresses:
        mark(held, held.addresses[0]["id"])


def mark(held: Held, address_id: str) -> None:
    for address in held.addresses:
        address["isDefault"] = address["id"] == address_id


def kept_address(body: dict[str, Json]) -> dict[str, Json]:
    kept = {name: kept_text(body[name]) for name in ADDRESS_TEXTS if name in body}
    if "country" in body:
        kept["country"] = body["country"].strip().upper()
    return kept


def kept_text(typed: str | None) -> str | None:
    return None if typed is None else typed.strip() or None


def kept_email(typed: str) -> str:
    return typed.strip().lower()


def exact(value: Json) -> Json:
    """Equal only where JSON is: true is not 1."""
    if isinstance(value, dict):
        return {name: exact(each) for name, each in value.items()}
    return (type(value), value) if isinstance(value, bool) else value
