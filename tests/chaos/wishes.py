"""What a writer may want next of a customer, and which answers are no surprise.

Invariant: a wish about a customer of the writer's own is foreseen exactly; one about a customer
that several write to may lose a race.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from uuid import UUID

from tests.chaos.book import Customer, Json
from tests.chaos.journal import Write

MISSING_ADDRESS = "addr_00000000000000000000000000"
TAGS = ("vip", "VIP", "wholesale", "early-adopter", "referral", "new")
CITIES = ("Portland", "San Francisco", "Zürich", "Łódź")
CUSTOMERS_MAX = 6  # of a writer at a time
DELETED = ["customer_deleted"]


def unique(choose: Random) -> str:
    """From the seed, so a run's wishes are the same again."""
    return UUID(int=choose.getrandbits(128), version=4).hex


class Wishes:
    """One writer's: `own` are its customers, `shared` those of all, `victims` are to be deleted."""

    def __init__(self, choose: Random, shared: list[str], victims: list[str]) -> None:
        self._choose = choose
        self.own: list[Customer] = []
        self.gone: list[Customer] = []
        self.done: list[Write] = []  # acknowledged, to be repeated; of living customers
        self._shared = shared
        self._victims = victims

    def next(self) -> tuple[Write, Customer | None]:
        """The customer is None where the writer does not foresee it."""
        choose = self._choose
        living = [each for each in self.own if not each.is_deleted]
        if not living or (len(living) < CUSTOMERS_MAX and choose.random() < 0.4):
            return self.create(Customer())
        chance = choose.random()
        if chance < 0.15:
            return self._race(choose.choice(self._shared)), None
        if chance < 0.17 and self._victims:
            path = f"/user/{self._victims.pop()}"
            return self._write("victim", "DELETE", path), None
        if chance < 0.23 and self.done:
            return self._repeat(choose.choice(self.done[-40:])), None
        if chance < 0.26 and self.gone:
            return self._too_late(choose.choice(self.gone)), None
        return self._change(choose.choice(living), living)

    def _change(self, customer: Customer, living: list[Customer]) -> tuple[Write, Customer | None]:
        makers: list[tuple[int, Callable[[Customer], Write]]] = [
            (30, self._update),
            (12, self._tag),
            (6, self._untag),
            (10, self._add_address),
            (6, self._remove_address),
            (4, self._nothing),
            (3, self._miss_address),
            (3, self._outdated),
            (5, self._delete),
        ]
        if self._choose.random() < 0.05:
            other = self._choose.choice(living)
            body = {"email": other.email}
            return self._write("conflict", "POST", "/user", body, allowed=["email_taken"]), None
        weights, functions = zip(*makers, strict=True)
        return self._choose.choices(functions, weights)[0](customer), customer

    def create(self, customer: Customer) -> tuple[Write, Customer]:
        choose = self._choose
        body: Json = {"email": f"{unique(choose)}@example.com", **self._names(1)}
        if choose.random() < 0.5:
            body["tags"] = list(dict.fromkeys(each.lower() for each in self._some_tags()))
        return self._write("create", "POST", "/user", body), customer

    def _update(self, customer: Customer) -> Write:
        choose = self._choose
        body = self._names(2)
        if choose.random() < 0.3:
            body["metadata"] = {choose.choice("abc"): choose.choice([None, "x", 1, True])}
        if choose.random() < 0.2:
            body["email"] = f"{unique(choose)}@example.com"
        if choose.random() < 0.2:
            body["tags"] = list(dict.fromkeys(each.lower() for each in self._some_tags()))
        if choose.random() < 0.2:
            body["active"] = not customer.active
        body["lastName"] = unique(choose)  # so that it always changes something
        method = choose.choice(("PUT", "PATCH"))
        if choose.random() < 0.3:
            allowed = ["", "precondition_failed"]  # an order may have come between
            write = self._write("update", method, customer.path, body, allowed=allowed)
            write.if_match = customer.version
            return write
        return self._write("update", method, customer.path, body)

    def _tag(self, customer: Customer) -> Write:
        tags = [*self._some_tags(), unique(self._choose)[:8]]
        return self._write("tag", "POST", f"{customer.path}/tag", {"tags": tags})

    def _untag(self, customer: Customer) -> Write:
        if not customer.tags:
            return self._tag(customer)
        path = f"{customer.path}/tag/{self._choose.choice(customer.tags)}"
        return self._write("untag", "DELETE", path)

    def _add_address(self, customer: Customer) -> Write:
        if len(customer.addresses) > 5:
            return self._remove_address(customer)
        body = self._address()
        return self._write("address", "POST", f"{customer.path}/address", body)

    def _remove_address(self, customer: Customer) -> Write:
        if not customer.addresses:
            return self._add_address(customer)
        path = f"{customer.path}/address/{self._choose.choice(customer.addresses)['id']}"
        return self._write("remove", "DELETE", path)

    def _nothing(self, customer: Customer) -> Write:
        body = {"firstName": customer.names["firstName"], "email": customer.email}
        return self._write("nothing", "PUT", customer.path, body, changes=False)

    def _miss_address(self, customer: Customer) -> Write:
        path = f"{customer.path}/address/{MISSING_ADDRESS}"
        return self._write("missing", "DELETE", path, allowed=["address_not_found"])

    def _outdated(self, customer: Customer) -> Write:
        allowed = ["precondition_failed"]
        body = {"firstName": unique(self._choose)}
        write = self._write("outdated", "PATCH", customer.path, body, allowed=allowed)
        write.if_match = customer.version + 1_000_000
        return write

    def _delete(self, customer: Customer) -> Write:
        return self._write("delete", "DELETE", customer.path)

    def _too_late(self, customer: Customer) -> Write:
        body = {"firstName": unique(self._choose)}
        return self._write("too late", "PATCH", customer.path, body, allowed=DELETED)

    def _race(self, customer_id: str) -> Write:
        choose, path = self._choose, f"/user/{customer_id}"
        mark = unique(choose)
        return choose.choice(
            (
                self._write("race", "PATCH", path, {"lastName": mark}),
                self._write("race", "PUT", path, {"phone": "555 0123", "lastName": mark}),
                self._write("race", "POST", f"{path}/tag", {"tags": [mark]}),
            )
        )

    def _repeat(self, done: Write) -> Write:
        """The same under the same key, or another request under it."""
        if self._choose.random() < 0.2 and done.method in {"PUT", "PATCH"}:
            body = {"firstName": unique(self._choose)}
            write = self._write(
                "reuse", done.method, done.path, body, allowed=["idempotency_key_reused"]
            )
        else:
            write = self._write("replay", done.method, done.path, done.body, changes=False)
            write.repeats = done.key
            write.if_match = done.if_match
        write.key = done.key
        return write

    def _write(
        self,
        kind: str,
        method: str,
        path: str,
        body: object = None,
        allowed: list[str] | None = None,
        *,
        changes: bool = True,
    ) -> Write:
        key = unique(self._choose)
        allowed = [""] if allowed is None else allowed
        return Write(kind, method, path, body, key, allowed=allowed, changes=changes)

    def _names(self, count: int) -> Json:
        names = self._choose.sample(["firstName", "phone"], min(count, 2))
        return {
            name: f"+1-555-{self._choose.randrange(10_000):04}"
            if name == "phone"
            else unique(self._choose)
            for name in names
        }

    def _some_tags(self) -> list[str]:
        return self._choose.sample(TAGS, self._choose.randint(1, 3))

    def _address(self) -> Json:
        body: Json = {
            "line1": f"{self._choose.randrange(1_000)} Oak Ave",
            "city": self._choose.choice(CITIES),
            "country": self._choose.choice(("US", "CH", "PL")),
        }
        if self._choose.random() < 0.4:
            body |= {"label": "Office", "isDefault": self._choose.random() < 0.5}
        return body


def apply(write: Write, customer: Customer) -> None:
    """What an acknowledged wish makes of the customer."""
    shown = write.shown
    match write.kind:
        case "create":
            assert isinstance(shown, dict)
            assert isinstance(write.body, dict)
            customer.id = str(shown["id"])
            customer.patch(write.body)
        case "update":
            assert isinstance(write.body, dict)
            customer.patch(write.body)
        case "tag":
            assert isinstance(write.body, dict)
            customer.tag(write.body["tags"])
        case "untag":
            customer.untag(write.path.rpartition("/")[2])
        case "address":
            assert isinstance(shown, dict)
            customer.add_address({name: shown[name] for name in shown})
        case "remove":
            customer.remove_address(write.path.rpartition("/")[2])
        case "delete":
            customer.is_deleted = True
    customer.version = write.version


def kinds() -> Iterator[str]:
    """Every kind of wish, so that a run can tell that it had all of them."""
    yield from ("create", "update", "tag", "untag", "address", "remove", "nothing", "missing")
    yield from ("outdated", "delete", "too late", "race", "replay", "reuse", "conflict", "victim")
