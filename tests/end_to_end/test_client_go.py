"""The Go client against the service itself: its own tests, its README's program, and whether it
calls every operation.

Invariant: nothing is fetched; where Go is missing, the tests are skipped and say so.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import BaseModel

from service.order_intake import Recorder
from service.postgres import Postgres
from tests.support import api as support_api
from tests.support.api import Api, running_api
from tests.support.clients import Answered, said_by
from tests.support.orders import a_message

CLIENT = Path(__file__).parents[2] / "clients" / "go"
GO, FORMATTER = "go", "gofmt"
GO_TIMEOUT_SECONDS = 240.0  # the first time it compiles the standard library
OFFLINE = {"GOPROXY": "off", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-buildvcs=false"}
METHODS = ("get", "post", "put", "patch", "delete")
SAME_AS = {("PATCH", "/user/{customerId}"): ("PUT", "/user/{customerId}")}  # by the contract

pytestmark = pytest.mark.timeout(600)

Operation = tuple[str, str]  # method and path template


class Described(BaseModel):
    """An OpenAPI document, as far as it is read here."""

    paths: dict[str, dict[str, object]]


@dataclass
class Shop:
    """A service, and a customer of it who is tagged `vip` and has spent 5000."""

    api: Api
    answered: Answered
    customer_id: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "COMMERCE_URL": self.api.url,
            "COMMERCE_TOKEN": self.api.token or "",
            "CUSTOMERS_ID_WITH_ORDERS": self.customer_id,
        }


@pytest.fixture
async def shop(database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    answered = Answered()
    monkeypatch.setattr(support_api, "request_metrics", lambda: answered)
    async with running_api(database) as api, Postgres.connect(database) as postgres:
        path = await api.create("vip@example.com", tags=["vip"])
        customer_id = path.rpartition("/")[2]
        orders = [
            a_message("ord_1", 1, customer_id, total=5_000),
            a_message("ord_2", 1, customer_id, status="cancelled"),
        ]
        assert set(await Recorder(postgres).record(orders)) == {"recorded"}
        answered.routes.clear()
        yield Shop(api, answered, customer_id)


@pytest.fixture(autouse=True)
def installed() -> None:
    if None in (shutil.which(GO), shutil.which(FORMATTER)):
        pytest.skip(f"needs {GO} and {FORMATTER}")


async def run(
    *command: str, folder: Path = CLIENT, settings: Mapping[str, str] | None = None
) -> str:
    """What a program says; the test fails where the program does."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("CUSTOMERS_")}
    return await said_by(
        *command,
        folder=folder,
        environment={**bare, **OFFLINE, **(settings or {})},
        timeout_seconds=GO_TIMEOUT_SECONDS,
    )


async def test_it_is_formatted_and_sound() -> None:
    assert await run(FORMATTER, "-l", ".") == ""
    assert await run(GO, "vet", "./...") == ""


async def test_it_works_alone() -> None:
    """As somebody runs it who has no service: only the tests that need one are left out."""
    said = await run(GO, "test", "-count=1", "-v", "./...")
    skipped = re.findall(r"--- SKIP: (\w+)", said)
    assert skipped
    assert all(name.startswith(("TestLive", "TestTheDocumentedUse")) for name in skipped)


async def test_it_calls_every_operation(shop: Shop) -> None:
    said = await run(GO, "test", "-count=1", "-v", "./...", settings=shop.environment)
    assert "--- SKIP" not in said
    assert "--- PASS: TestTheDocumentedUse" in said
    described = await customer_operations(shop.api)
    assert ("PUT", "/user/{customerId}") in described
    left_out = {each for each in described if SAME_AS.get(each, each) not in shop.answered.routes}
    assert not left_out
    assert (await shop.api.get("/user")).json["count"] == 1  # and the tests left nobody behind


async def customer_operations(api: Api) -> set[Operation]:
    described = Described.model_validate_json((await api.get("/openapi.json")).body)
    return {
        (method.upper(), path)
        for path, item in described.paths.items()
        for method in item
        if method in METHODS
    }


async def test_the_readmes_program_runs_in_a_module_of_its_own(shop: Shop, tmp_path: Path) -> None:
    readme = (CLIENT / "README.md").read_text()
    [required] = re.findall(r"```text\n(.*?)```", readme, re.DOTALL)
    [program] = re.findall(r"```go\n(package main\n.*?)```", readme, re.DOTALL)
    placed = required.replace("../customers/clients/go", str(CLIENT))
    assert placed != required
    (tmp_path / "go.mod").write_text(f"module example\n\ngo 1.19\n\n{placed}")
    (tmp_path / "main.go").write_text(program)
    assert await run(FORMATTER, "-l", ".", folder=tmp_path) == ""
    said = await run(GO, "run", ".", folder=tmp_path, settings=shop.environment)
    assert said == f"{shop.customer_id} 5000\n"
