"""A customer's history, as the API tells it, folded by the documents alone.

Invariant: nothing of the service takes part; what was answered to a write must be what the events
up to its version make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.chaos.book import Customer, Json, strings, visible
from tests.chaos.findings import Findings
from tests.chaos.journal import Write
from tests.chaos.orders import Order, RollUp, number


class History:
    """A customer after each of its events. Raises KeyError for a type that is not documented."""

    def __init__(self) -> None:
        self.customer = Customer()
        self.orders: dict[str, Order] = {}

    def apply(self, kind: str, data: Mapping[str, object]) -> None:
        customer = self.customer
        match kind.removesuffix(".v1").removeprefix("customer."):
            case "created":
                customer.patch(data)
                addresses = data["addresses"]
                assert isinstance(addresses, list)
                customer.addresses = addresses
            case "updated":
                self._update(data["changes"])
            case "tagged":
                customer.tag(strings(data["tags"]))
            case "untagged":
                for tag in strings(data["tags"]):
                    customer.untag(tag)
            case "address_added":
                customer.add_address(_address(data["address"]))
            case "address_removed":
                customer.remove_address(data["addressId"])
            case "deactivated":
                customer.active = False
            case "reactivated":
                customer.active = True
            case "order_recorded":
                order = _address(data["order"])
                self.orders[str(order["orderId"])] = order
            case other:
                raise KeyError(other)

    def _update(self, changes: object) -> None:
        assert isinstance(changes, dict)
        if "metadata" in changes:
            self.customer.metadata = {}  # comes whole
        self.customer.patch(changes)

    def shown(self) -> Json:
        """What callers decide, and the roll-ups."""
        sums = RollUp()
        for order in self.orders.values():
            given = {name: value for name, value in order.items() if value is not None}
            sums.add(given)
        return {**self.customer.shown(), **sums.shown}


def _address(value: object) -> Json:
    assert isinstance(value, dict)
    return value


def document(body: Mapping[str, object]) -> Json:
    """Of a customer's body, what a history must make."""
    rolled_up = {name: body[name] for name in ("orderCount", "totalSpent", "spentByCurrency")}
    return {**visible(body), **rolled_up}


def check_history(
    events: Sequence[Mapping[str, object]], writes: Sequence[Write], now: Mapping[str, object]
) -> Findings:
    """The acknowledged writes of one living customer, against its events, oldest first; `now` is
    the body that GET answers."""
    findings = Findings()
    answered = {write.version: write for write in writes if _has_body(write)}
    history = History()
    for expected, event in enumerate(events, start=1):
        version = number(event["version"])
        if version != expected:
            findings.add("out of order", f"{now['id']}: version {version} stands at {expected}")
        data = event["data"]
        assert isinstance(data, dict)
        history.apply(str(event["type"]), data)
        write = answered.pop(version, None)
        if write is not None:
            assert isinstance(write.shown, dict)
            if (write.position, document(write.shown)) != (event["position"], history.shown()):
                text = f"{now['id']} version {version}: {write.shown} was answered, the events say"
                findings.add("wrong", f"{text} {history.shown()} at {event['position']}")
    for write in answered.values():
        findings.add("lost", f"{now['id']}: its history has no version {write.version}")
    if (document(now), now["version"]) != (history.shown(), len(events)):
        findings.add("wrong", f"{now['id']}: shown is {now}, the events say {history.shown()}")
    return findings


def _has_body(write: Write) -> bool:
    """A customer's; a write that changed nothing was answered what the events made before."""
    return write.is_acknowledged and isinstance(write.shown, dict) and "email" in write.shown
