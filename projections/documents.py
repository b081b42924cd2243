"""The document of a customer as it is stored and shown, and what events do to it; pure.

Invariant: key for key and byte for byte what service.documents makes of the folded stream. It is
read, changed and written for every event, so it goes without a model around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple, TypeAlias, TypedDict, cast

import orjson
from pydantic_core import from_json, to_json

from service.documents import CustomerItem, timestamp_text
from service.errors import Corrupt
from service.events import (
    Address,
    AddressAdded,
    AddressRemoved,
    AddressUpdated,
    CustomerChanges,
    CustomerCreated,
    CustomerDeactivated,
    CustomerReactivated,
    CustomerTagged,
    CustomerUntagged,
    CustomerUpdated,
    MetadataValue,
)
from service.identifiers import AddressId


class AddressShown(TypedDict):
    id: str
    label: str | None
    line1: str
    city: str
    state: str | None
    postalCode: str | None
    country: str
    isDefault: bool


class Document(TypedDict):
    id: str
    email: str
    firstName: str | None
    lastName: str | None
    phone: str | None
    metadata: dict[str, MetadataValue]
    addresses: list[AddressShown]
    orderCount: int
    totalSpent: int
    spentByCurrency: dict[str, int]
    lastOrderAt: str | None
    tags: list[str]
    active: bool
    createdAt: str
    updatedAt: str
    version: int


Change: TypeAlias = (
    CustomerUpdated
    | CustomerTagged
    | CustomerUntagged
    | AddressAdded
    | AddressUpdated
    | AddressRemoved
    | CustomerDeactivated
    | CustomerReactivated
)
"""An event that changes a living customer's own fields."""

_NUMBERS = frozenset({float, int})

ITEM_FIELDS = tuple(each.alias or name for name, each in CustomerItem.model_fields.items())


class Listing(NamedTuple):
    """What a customer is listed and found by, as far as no order changes it."""

    email: str
    first_name: str | None
    last_name: str | None
    is_active: bool
    tags: tuple[str, ...]
    created_at: datetime


def read_document(text: str) -> Document:
    """orjson, unless a number may be one that it cannot hold exactly: those it reads as floats."""
    document: Document = orjson.loads(text)
    if any(isinstance(value, float) for value in document["metadata"].values()):
        document = from_json(text)
    return document


def written(document: Document) -> tuple[str, str]:
    """JSON of the document, and of its line in a list. Raises Corrupt for a sum beyond 64 bits."""
    fields: Mapping[str, object] = cast("dict[str, object]", document)
    item = {name: fields[name] for name in ITEM_FIELDS}
    metadata = document["metadata"]
    try:
        if metadata and any(type(value) in _NUMBERS for value in metadata.values()):
            whole = to_json(document, inf_nan_mode="null")  # writes numbers as the models do
        else:
            whole = orjson.dumps(document)
        return whole.decode(), orjson.dumps(item).decode()
    except orjson.JSONEncodeError as error:
        raise Corrupt("a sum of money is too large") from error


def listing(document: Document) -> Listing:
    return Listing(
        document["email"],
        document["firstName"],
        document["lastName"],
        document["active"],
        tuple(document["tags"]),
        datetime.fromisoformat(document["createdAt"]),
    )


def created(customer_id: str, version: int, time: datetime, event: CustomerCreated) -> Document:
    when = timestamp_text(time)
    return {
        "id": customer_id,
        "email": event.email,
        "firstName": event.first_name,
        "lastName": event.last_name,
        "phone": event.phone,
        "metadata": dict(event.metadata),
        "addresses": [_shown(address) for address in event.addresses],
        "orderCount": 0,
        "totalSpent": 0,
        "spentByCurrency": {},
        "lastOrderAt": None,
        "tags": list(event.tags),
        "active": event.active,
        "createdAt": when,
        "updatedAt": when,
        "version": version,
    }


def change(document: Document, event: Change) -> None:
    """Let an event happen to the document. Raises Corrupt, with nothing changed."""
    match event:
        case CustomerUpdated(changes=changes):
            _update(document, changes)
        case CustomerTagged(tags=tags):
            document["tags"].extend(tags)
        case CustomerUntagged(tags=tags):
            document["tags"] = [tag for tag in document["tags"] if tag not in tags]
        case AddressAdded(address=address):
            document["addresses"].append(_shown(address))
            if address.is_default:
                _promote(document, address.id)
        case AddressUpdated(address=address):
            _replace(document, address)
            if address.is_default:
                _promote(document, address.id)
        case AddressRemoved(address_id=removed, new_default_address_id=promoted):
            held = document["addresses"]
            document["addresses"] = [each for each in held if each["id"] != removed]
            if promoted is not None:
                _promote(document, promoted)
        case CustomerDeactivated():
            document["active"] = False
        case CustomerReactivated():
            document["active"] = True


def _update(document: Document, changes: CustomerChanges) -> None:
    given = changes.model_fields_set
    if "email" in given:
        document["email"] = changes.email
    if "first_name" in given:
        document["firstName"] = changes.first_name
    if "last_name" in given:
        document["lastName"] = changes.last_name
    if "phone" in given:
        document["phone"] = changes.phone
    if "metadata" in given:
        document["metadata"] = dict(changes.metadata)


def _replace(document: Document, address: Address) -> None:
    addresses = document["addresses"]
    for place, held in enumerate(addresses):
        if held["id"] == address.id:
            addresses[place] = _shown(address)
            return
    raise Corrupt("an address changed that is not there")


def _promote(document: Document, promoted: AddressId) -> None:
    for address in document["addresses"]:
        address["isDefault"] = address["id"] == promoted


def _shown(address: Address) -> AddressShown:
    return {
        "id": address.id,
        "label": address.label,
        "line1": address.line1,
        "city": address.city,
        "state": address.state,
        "postalCode": address.postal_code,
        "country": address.country,
        "isDefault": address.is_default,
    }
