"""The customer API as its documentation describes it, in memory: what every call must answer.

Invariant: nothing here is taken from the code under test. Where the service makes something up, an
id or a time, the model takes it from the answer once, and holds the service to it from then on.
"""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import unquote

from tests.property import customer_model
from tests.property.customer_model import Held, Json, Refusal

_KEY = re.compile(r"[ -~]{1,255}")


@dataclass(frozen=True)
class Call:
    """One request; `path` without the prefix `/v1`."""

    method: str
    path: str
    body: dict[str, Json] | None = None
    if_match: str | None = None
    key: str | None = None
    prefix: str = ""
    faults: tuple[tuple[str, str], ...] = ()  # what is known to be wrong with the body

    @property
    def headers(self) -> dict[str, str | None]:
        return {"If-Match": self.if_match, "Idempotency-Key": self.key}

    @property
    def request(self) -> object:
        """What a repeat under the same key must have in common with the first."""
        return self.method, self.path, repr(self.body)


@dataclass(frozen=True)
class Success:
    """What is answered: the customer, one of its addresses (`subject`), or nothing (204)."""

    status: int
    held: Held
    subject: str | None = None
    is_replayed: bool = False


Outcome: TypeAlias = Success | Refusal


@dataclass
class Known:
    """What a key was used for."""

    request: object
    success: Success


@dataclass
class Model:
    """Every customer of every tenant, and the log's last position."""

    position: int
    customers: dict[str, Held] = field(default_factory=dict)
    keys: dict[tuple[str, str], Known] = field(default_factory=dict)

    def outcome(self, tenant: str, call: Call, made: dict[str, Json]) -> Outcome:
        """What becomes of a call; ids are taken from `made`, which was answered with 201."""
        try:
            if call.method == "GET":
                return Success(200, self._find(tenant, call.path.split("/")[2]))
            return self._write(tenant, call, made)
        except Refusal as refusal:
            return refusal

    def _write(self, tenant: str, call: Call, made: dict[str, Json]) -> Success:
        if call.faults:
            raise Refusal(422, "validation_failed", dict(call.faults))
        key, versions = key_of(call.key), versions_of(call.if_match)
        if key is not None and (known := self.keys.get((tenant, key))) is not None:
            return self._repeated(call, known)
        if call.path == "/user":
            success = Success(201, customer_model.created(tenant, call.body or {}, made))
            events = 1
        else:
            held = self._find(tenant, call.path.split("/")[2])
            if versions is not None and held.version not in versions:
                raise Refusal(412, "precondition_failed", current_version=held.version)
            success, events = changed(deepcopy(held), call, made)
        self._commit(success.held, events)
        if key is not None:
            self.keys[tenant, key] = Known(call.request, success)
        return success

    def _repeated(self, call: Call, known: Known) -> Success:
        if known.request != call.request:
            raise Refusal(422, "idempotency_key_reused")
        first = known.success
        if self.customers[first.held.id].is_deleted and not first.held.is_deleted:
            raise Refusal(404, "customer_deleted")
        return Success(first.status, first.held, first.subject, is_replayed=True)

    def _find(self, tenant: str, customer_id: str) -> Held:
        held = self.customers.get(customer_id)
        if held is None or held.tenant != tenant:
            raise Refusal(404, "customer_not_found")
        if held.is_deleted:
            raise Refusal(404, "customer_deleted")
        return held

    def _commit(self, held: Held, events: int) -> None:
        for other in self.customers.values():
            if other.id == held.id or other.tenant != held.tenant or other.is_deleted:
                continue
            if other.fields["email"] == held.fields["email"] and not held.is_deleted:
                raise Refusal(409, "email_taken")
        if events:
            self.position += events
            held.version += events
            held.position = self.position
        self.customers[held.id] = held


def changed(held: Held, call: Call, made: dict[str, Json]) -> tuple[Success, int]:
    """The customer after a write, and how many events that takes."""
    _, _, _, *rest = call.path.split("/")
    body = call.body or {}
    match call.method, rest:
        case "DELETE", []:
            held.is_deleted = True
            return Success(204, held), 1
        case _, []:
            return Success(200, held), customer_model.patch(held, body)
        case "POST", ["tag"]:
            return Success(200, held), customer_model.tag(held, body["tags"])
        case "DELETE", ["tag", tag]:
            return Success(200, held), customer_model.untag(held, [unquote(tag).strip()])
        case "POST", ["address"]:
            address_id = made.get("id", "")
            customer_model.add_address(held, address_id, body)
            return Success(201, held, address_id), 1
        case "PUT", ["address", address_id]:
            events = customer_model.patch_address(held, address_id, body)
            return Success(200, held, address_id), events
        case "DELETE", ["address", address_id]:
            customer_model.remove_address(held, address_id)
            return Success(204, held), 1
    raise AssertionError(f"no such route: {call.method} {call.path}")


def key_of(given: str | None) -> str | None:
    """Bare or quoted: the same key."""
    if given is None:
        return None
    key = given
    if given.startswith('"'):
        key = given[1:-1] if len(given) > 1 and given.endswith('"') else ""
    if not _KEY.fullmatch(key):
        raise Refusal(400, "invalid_idempotency_key")
    return key


def versions_of(given: str | None) -> set[int] | None:
    """RFC 9110: strong comparison, so a weak tag never matches."""
    if given is None or given == "*":
        return None
    parts = [part.strip() for part in given.split(",")]
    if not all(re.fullmatch(r'(W/)?"[^"]*"', part) for part in parts):
        raise Refusal(400, "invalid_if_match")
    return {int(part[1:-1]) for part in parts if re.fullmatch(r'"[1-9]\d*"', part)}
