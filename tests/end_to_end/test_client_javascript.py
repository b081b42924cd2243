"""The JavaScript client, by its own tests: alone, and against this API.

Invariant: what the API serves, its description names, and what that names, the client does and
declares; so a new route, parameter or field fails here until the client knows it.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field

from service.order_intake import Recorder
from service.postgres import Postgres
from tests.support.api import Api
from tests.support.clients import Answered, said_by
from tests.support.orders import a_message

CLIENT = Path(__file__).parents[2] / "clients" / "javascript"
DECLARATIONS = CLIENT / "index.d.ts"
NODE = "node"
GIVE_UP_SECONDS = 100
ORDERS = 3  # of the customer whom the client's tests look for
SAME_AS_PUT = ("PATCH", "/user/{customerId}")
DECLARED_PARAMETERS = {
    "listCustomers": "ListParameters",
    "getCustomer": "GetParameters",
    "listOrders": "OrdersParameters",
    "listEvents": "EventsParameters",
    "readFeed": "FeedParameters",
}
NOT_IN_THE_QUERY = {"epoch"}  # of the feed: a header
DECLARED_SCHEMAS = {
    "Address": "Address",
    "AddressBody": "NewAddress",
    "AddressPatch": "Address",
    "CustomerBody": "NewCustomer",
    "CustomerPatch": "CustomerChanges",
    "CustomerItem": "CustomerItem",
    "CustomerDocument": "Customer",
    "CustomerList": "CustomerList",
    "OrderItem": "Order",
    "OrderList": "OrderList",
    "EventItem": "CustomerEvent",
    "EventList": "EventList",
    "CustomerExport": "CustomerExport",
    "FeedEvent": "FeedEvent",
    "Actor": "Actor",
}
READ_ONLY = {
    *("id", "orderCount", "totalSpent", "spentByCurrency", "lastOrderAt", "createdAt", "updatedAt"),
    *("version", "stale"),
}
OF_DELETED_CUSTOMERS_AND_DAMAGE = {"forgotten", "damaged"}  # told in the route's description


class Parameter(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str
    place: str = Field(alias="in")


class Operation(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str = Field(alias="operationId")
    parameters: tuple[Parameter, ...]

    @property
    def query(self) -> set[str]:
        return {each.name for each in self.parameters if each.place == "query"}


class Schema(BaseModel):
    model_config = ConfigDict(frozen=True)

    properties: dict[str, object] = {}


class Components(BaseModel):
    model_config = ConfigDict(frozen=True)

    schemas: dict[str, Schema]


class Description(BaseModel):
    """What of /openapi.json is looked at: operations by path and method, and schemas by name."""

    model_config = ConfigDict(frozen=True)

    paths: dict[str, dict[str, Operation]]
    components: Components


async def node_runs(*files: Path, **settings: str) -> None:
    """All tests in these files pass, and none is left out; else what node said is shown."""
    node = shutil.which(NODE)
    if node is None:
        pytest.skip(f"needs {NODE}")
    said = await said_by(
        *(node, "--test", "--test-reporter=tap", *map(str, files)),
        folder=CLIENT,
        environment={"PATH": os.environ["PATH"], **settings},
        timeout_seconds=GIVE_UP_SECONDS,
    )
    assert re.search(r"^# pass [1-9]", said, re.MULTILINE), said
    assert re.search(r"^# skipped 0$", said, re.MULTILINE), said


def files(pattern: str) -> list[Path]:
    return sorted((CLIENT / "test").glob(pattern))


def fields_of(interface: str) -> set[str]:
    """What a declaration has, with all that it extends."""
    text = re.sub(r"/\*\*.*?\*/", "", DECLARATIONS.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = re.search(
        rf"^export interface {interface}(?: extends (.*?))? \{{\n(.*?)^\}}",
        text,
        re.MULTILINE | re.DOTALL,
    )
    assert found is not None, interface
    names = set(re.findall(r"^  (\w+)\??: ", found[2], re.MULTILINE))
    extended = found[1] or ""
    left_out = set(re.findall(r'"(\w+)"', extended))
    for parent in re.findall(r"\b[A-Z]\w+", re.sub(r"\b(Partial|Omit)\b", "", extended)):
        names |= fields_of(parent) - left_out
    return names


async def described(api: Api) -> Description:
    answer = await api.get("/openapi.json")
    assert answer.status == 200
    return Description.model_validate_json(answer.body)


async def test_the_client_does_what_its_tests_say() -> None:
    alone = [path for path in files("*.test.js") if path.name != "service.test.js"]
    assert len(alone) >= 5
    await node_runs(*alone)


@pytest.mark.timeout(GIVE_UP_SECONDS + 20)
async def test_the_client_does_every_operation_of_this_api(
    api: Api, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sell(api, database)
    answered = Answered()
    monkeypatch.setattr(api.app, "_observer", answered)
    assert api.token is not None
    settings = {"COMMERCE_URL": api.url, "COMMERCE_TOKEN": api.token}
    await node_runs(*files("service.test.js"), **settings)
    operations = {
        (method.upper(), path)
        for path, methods in (await described(api)).paths.items()
        for method in methods
    }
    assert len(operations) >= 15
    assert operations - answered.routes == {SAME_AS_PUT}


async def sell(api: Api, database: str) -> None:
    path = await api.create("orders@example.com")
    customer_id = path.rpartition("/")[2]
    messages = [a_message(f"ord_{number}", 1, customer_id) for number in range(ORDERS)]
    async with Postgres.connect(database) as postgres:
        assert set(await Recorder(postgres).record(messages)) == {"recorded"}


async def test_every_parameter_is_declared(api: Api) -> None:
    paths = (await described(api)).paths.values()
    operations = [each for methods in paths for each in methods.values()]
    assert {each.name: each.query for each in operations if each.query} == {
        operation: fields_of(interface) - NOT_IN_THE_QUERY
        for operation, interface in DECLARED_PARAMETERS.items()
    }


async def test_every_field_is_declared(api: Api) -> None:
    schemas = (await described(api)).components.schemas
    for schema, interface in DECLARED_SCHEMAS.items():
        expected = set(schemas[schema].properties)
        if schema in {"AddressBody", "CustomerBody"}:
            expected -= READ_ONLY
        declared = fields_of(interface) - OF_DELETED_CUSTOMERS_AND_DAMAGE
        assert declared == expected, interface
