"""Any calls in any order: every answer, and in the end the log, is what the model says.

Invariant: after each write the customer is read and must be what the model holds; a version of a
customer has one body, byte for byte, whoever asks and whenever.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from service.customer import fold
from tests.property.api_model import Call, Model, Outcome, Success
from tests.property.bodies import (
    ADDRESS_PATCHES,
    ADDRESSES,
    CONDITIONS,
    CREATIONS,
    IDEMPOTENCY_KEYS,
    PATCHES,
    SOME_FAULTS,
    TAGS,
    Body,
    Faulty,
    if_match,
    with_faults,
)
from tests.property.customer_model import Held
from tests.property.serving import Server, serving
from tests.support.api import Answer

TENANTS = st.sampled_from(["north", "north", "south"])
PREFIXES = st.sampled_from(["", "", "/v1"])
IS_STRANGER = st.integers(0, 14).map(lambda number: number == 14)
PLACES = st.integers(0, 9)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
READ_ONLY = ("orderCount", "totalSpent", "spentByCurrency", "lastOrderAt")
OTHER = {"north": "south", "south": "north"}


class ApiMachine(RuleBasedStateMachine):
    customers = Bundle("customers")  # ids, of both tenants

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server
        self.callers = server.callers()
        self.began_at = server.position()
        self.model = Model(self.began_at)
        self.keyed: list[tuple[str, Call]] = []
        self.bodies: dict[tuple[str, int], bytes] = {}  # by customer and version
        self.addresses: dict[tuple[str, int, str], bytes] = {}

    # What callers do.

    @initialize(target=customers, body=CREATIONS, addresses=st.lists(ADDRESSES, max_size=3))
    def create_first(self, body: Body, addresses: list[Body]) -> object:
        return self.create("north", {**body, "addresses": addresses}, None, None, "")

    @rule(
        target=customers,
        tenant=TENANTS,
        body=CREATIONS,
        faulty=SOME_FAULTS,
        key=IDEMPOTENCY_KEYS,
        prefix=PREFIXES,
    )
    def create(
        self, tenant: str, body: Body, faulty: Faulty | None, key: str | None, prefix: str
    ) -> object:
        body, faults = with_faults(body, faulty or {})
        before = len(self.model.customers)
        outcome = self.send(tenant, Call("POST", "/user", body, None, key, prefix, faults))
        is_new = len(self.model.customers) > before
        return outcome.held.id if is_new and isinstance(outcome, Success) else multiple()

    @rule(
        customer=customers,
        method=st.sampled_from(["PUT", "PATCH"]),
        body=PATCHES,
        faulty=SOME_FAULTS,
        key=IDEMPOTENCY_KEYS,
        condition=CONDITIONS,
        stranger=IS_STRANGER,
    )
    def change(
        self,
        customer: str,
        method: str,
        body: Body,
        faulty: Faulty | None,
        key: str | None,
        condition: str,
        stranger: bool,
    ) -> None:
        body, faults = with_faults(body, faulty or {})
        self.write(customer, method, "", body, key, condition, stranger, faults)

    @rule(customer=customers, change=PATCHES, is_other=st.booleans())
    def send_back_edited(self, customer: str, change: Body, is_other: bool) -> None:
        """GET, edit, PUT: with the addresses as they were read, or others."""
        held = self.model.customers[customer]
        addresses = [*held.addresses, *held.addresses[:1]] if is_other else held.addresses
        body = {**held.fields, "createdAt": None, **change, "addresses": addresses}
        self.write(customer, "PUT", "", body)

    @rule(
        customer=customers,
        tags=TAGS,
        key=IDEMPOTENCY_KEYS,
        condition=CONDITIONS,
        stranger=IS_STRANGER,
    )
    def tag(
        self, customer: str, tags: list[str], key: str | None, condition: str, stranger: bool
    ) -> None:
        self.write(customer, "POST", "/tag", {"tags": tags}, key, condition, stranger)

    @rule(
        customer=customers,
        tag=st.sampled_from(["vip", "ViP", " vip ", "strasse", "é", "50%", "/", "other"]),
        key=IDEMPOTENCY_KEYS,
        condition=CONDITIONS,
    )
    def untag(self, customer: str, tag: str, key: str | None, condition: str) -> None:
        self.write(customer, "DELETE", f"/tag/{quote(tag, safe='')}", None, key, condition)

    @rule(
        customer=customers,
        body=ADDRESSES,
        key=IDEMPOTENCY_KEYS,
        condition=CONDITIONS,
        stranger=IS_STRANGER,
    )
    def add_address(
        self, customer: str, body: Body, key: str | None, condition: str, stranger: bool
    ) -> None:
        self.write(customer, "POST", "/address", body, key, condition, stranger)

    @rule(
        customer=customers,
        place=PLACES,
        body=ADDRESS_PATCHES,
        key=IDEMPOTENCY_KEYS,
        condition=CONDITIONS,
    )
    def change_address(
        self, customer: str, place: int, body: Body, key: str | None, condition: str
    ) -> None:
        path = f"/address/{self.address_id(customer, place)}"
        self.write(customer, "PUT", path, body, key, condition)

    @rule(customer=customers, place=PLACES, key=IDEMPOTENCY_KEYS, condition=CONDITIONS)
    def remove_address(self, customer: str, place: int, key: str | None, condition: str) -> None:
        path = f"/address/{self.address_id(customer, place)}"
        self.write(customer, "DELETE", path, None, key, condition)

    def address_id(self, customer: str, place: int) -> str:
        """One of the customer's own; another one's, or nobody's, where the place is 9."""
        own = [each["id"] for each in self.model.customers[customer].addresses]
        others = [one["id"] for each in self.model.customers.values() for one in each.addresses]
        if place == 9 or not own:
            return next(iter(others), "addr_none")
        return own[place % len(own)]

    @rule(
        customer=customers,
        key=IDEMPOTENCY_KEYS,
        condition=CONDITIONS,
        stranger=IS_STRANGER,
        is_meant=st.integers(0, 2).map(lambda number: number == 2),
    )
    def delete(
        self, customer: str, key: str | None, condition: str, stranger: bool, is_meant: bool
    ) -> None:
        if is_meant:  # else examples would be over too soon
            self.write(customer, "DELETE", "", None, key, condition, stranger)

    @rule(target=customers, customer=customers, body=CREATIONS, is_returning=st.booleans())
    def move_and_free_the_email(self, customer: str, body: Body, is_returning: bool) -> object:
        """Somebody leaves, or takes another address; somebody new comes with the one before."""
        held = self.model.customers[customer]
        email = str(held.fields["email"]).upper()
        if is_returning:
            self.write(customer, "DELETE", "", None)
        else:
            self.write(customer, "PATCH", "", {"email": f"{customer}@example.com"})
        return self.create(held.tenant, {**body, "email": email}, None, None, "")

    @rule(customer=customers, stranger=IS_STRANGER)
    def read(self, customer: str, stranger: bool) -> None:
        tenant = self.model.customers[customer].tenant
        self.send(OTHER[tenant] if stranger else tenant, Call("GET", f"/user/{customer}"))

    @precondition(lambda self: self.keyed)
    @rule(number=st.integers(0, 30), prefix=PREFIXES, condition=CONDITIONS)
    def repeat(self, number: int, prefix: str, condition: str) -> None:
        """An earlier request with its key; the condition it came with plays no part any more."""
        tenant, call = self.keyed[number % len(self.keyed)]
        again = if_match(condition, 1) if call.path != "/user" else None
        self.send(tenant, Call(call.method, call.path, call.body, again, call.key, prefix))

    # What has to come of it.

    def write(
        self,
        customer: str,
        method: str,
        path: str,
        body: Body | None,
        key: str | None = None,
        condition: str = "none",
        stranger: bool = False,
        faults: tuple[tuple[str, str], ...] = (),
    ) -> None:
        held = self.model.customers[customer]
        tenant = OTHER[held.tenant] if stranger else held.tenant
        tags = if_match(condition, held.version)
        self.send(tenant, Call(method, f"/user/{customer}{path}", body, tags, key, faults=faults))
        self.send(held.tenant, Call("GET", f"/user/{customer}"))

    def send(self, tenant: str, call: Call) -> Outcome:
        answer = self.server.answer(self.callers[tenant], call)
        made = answer.json if answer.status == 201 else {}
        outcome = self.model.outcome(tenant, call, made)
        if isinstance(outcome, Success):
            self.assert_success(call, answer, outcome)
            if call.key is not None:
                self.keyed.append((tenant, call))
            return outcome
        assert (answer.status, answer.code) == (outcome.status, outcome.code), answer.body
        assert answer.fault_codes == outcome.faults or outcome.status == 400
        assert answer.json.get("currentVersion") == outcome.current_version
        return outcome

    def assert_success(self, call: Call, answer: Answer, success: Success) -> None:
        held = success.held
        assert answer.status == success.status, answer.body
        assert answer.headers["ETag"] == f'"{held.version}"'
        if call.method == "GET":
            assert int(answer.headers["As-Of-Position"]) >= held.position
        else:
            assert int(answer.headers["Log-Position"]) == held.position
            replayed = answer.headers.get("Idempotent-Replayed")
            assert replayed == ("true" if success.is_replayed else None)
        place = f"{call.prefix}/user/{held.id}"
        if success.status == 204:
            assert answer.body == b""
        elif success.subject is None:
            self.assert_shows_customer(answer, held)
        else:
            place += f"/address/{success.subject}"
            assert answer.json == held.address(success.subject)
        if success.status == 201:
            assert answer.headers["Location"] == place

    def assert_shows_customer(self, answer: Answer, held: Held) -> None:
        shown = answer.json
        assert {name: shown[name] for name in held.fields} == held.fields
        assert (shown["id"], shown["version"]) == (held.id, held.version)
        assert [shown[name] for name in READ_ONLY] == [0, 0, {}, None]
        assert TIME.fullmatch(shown["createdAt"])
        assert TIME.fullmatch(shown["updatedAt"])
        assert answer.body == self.bodies.setdefault((held.id, held.version), answer.body)

    def teardown(self) -> None:
        """The log holds what was answered, and nothing else."""
        events = self.server.events_after(self.began_at)
        assert [event.position for event in events] == list(
            range(self.began_at + 1, self.model.position + 1)
        )
        for held in self.model.customers.values():
            stream = [event for event in events if event.customer_id == held.id]
            assert [event.version for event in stream] == list(range(1, held.version + 1))
            customer = fold(stream)
            assert customer is not None
            assert customer.is_deleted == held.is_deleted
            last = self.bodies.get((held.id, held.version))
            if last is not None:
                assert customer.document("USD").json_bytes() == last


@pytest.fixture
def server(database: str) -> Iterator[Server]:
    with serving(database) as server:
        yield server


def test_every_answer_is_what_the_model_says(server: Server) -> None:
    run_state_machine_as_test(
        lambda: ApiMachine(server),
        settings=settings(
            max_examples=settings().max_examples * 3 // 10,
            stateful_step_count=30,
            phases=[Phase.generate],  # to shrink an example takes minutes
            report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
