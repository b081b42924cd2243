"""Orders from the command line: published as a shop does, taken in by the role, put back."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE
from pathlib import Path

from service.embedded.child_process import free_port
from tests.end_to_end.command import PROGRAM, call, environment, run, running
from tests.end_to_end.shop import Installation
from tests.support.orders import an_order
from tests.support.topics import eventually
from tests.support.vaults import KEY


def lines(*orders: object) -> str:
    return "".join(f"{json.dumps(order)}\n" for order in orders)


async def test_orders_of_a_file_are_published_by_their_keys(installed: Installation) -> None:
    orders = [an_order(f"ord_{number % 700}", number + 1, "cust_1") for number in range(1_500)]
    (installed.folder / "orders.jsonl").write_text(lines(*orders))
    code, stdout, stderr = installed.run("orders", "publish", "orders.jsonl", "--json")
    assert (code, stderr) == (0, ["Published 1500 orders."])
    assert json.loads(stdout) == {"published": 1_500, "refused": 0}
    records = await installed.shop.orders()
    assert len(records) == 1_500
    versions: dict[bytes | None, list[int]] = {}
    for record in records:
        value = json.loads(record.value or b"")
        assert value in orders
        assert record.key == value["orderId"].encode()
        versions.setdefault(record.key, []).append(value["orderVersion"])
    assert all(of_one == sorted(of_one) for of_one in versions.values())


async def test_bad_lines_are_named_by_number_and_the_rest_goes_out(installed: Installation) -> None:
    good = an_order("ord_1", 1, "cust_1")
    secret = "jane@example.com"
    given = lines(good, good | {"total": secret}) + "\n" + secret + "\n" + lines(good)
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *("orders", "publish", "-"),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        cwd=installed.folder,
        env=environment(installed.folder, installed.settings),
    )
    stdout, stderr = await asyncio.wait_for(process.communicate(given.encode()), 60)
    assert (process.returncode, stdout) == (1, b"")
    assert stderr.decode().splitlines() == [
        "line 2: invalid_message (total: int_type)",
        "line 4: invalid_message (value: json_invalid)",
        "Published 2 orders.",
        "Refused 2 lines.",
    ]
    assert len(await installed.shop.orders()) == 2


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    result = run(tmp_path, "orders", "publish", "none.jsonl", KAFKA_BOOTSTRAP_SERVERS="h:1")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "none.jsonl cannot be read: No such file or directory.\n"


def test_a_reason_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    servers = "127.0.0.1:1"
    result = run(tmp_path, "intake", "redrive", "--reason", "x", KAFKA_BOOTSTRAP_SERVERS=servers)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("reasons are invalid_message, unknown_tenant")


def test_without_a_broker_it_is_one_sentence(tmp_path: Path) -> None:
    result = run(tmp_path, "intake", "redrive", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("Kafka did not answer")
    assert result.stderr.count("\n") == 1


async def test_the_role_takes_orders_in_and_what_was_put_aside_comes_back(
    installed: Installation,
) -> None:
    shop = installed.shop
    (installed.folder / "master.key").write_text(KEY.text())
    assert installed.run("migrate")[0] == 0
    (jane,) = await shop.customers(1)
    await shop.publish([an_order("a", 1, jane), an_order("b", 1, jane, tenant="late")])
    port = str(free_port())
    settings = {**installed.settings, "HTTP_PORT": port}
    with running(installed.folder, "intake", **settings) as role:
        role.wait_for("intake_started")
        metrics = f"http://127.0.0.1:{port}/metrics"
        wanted = (
            'customers_intake_messages_total{outcome="recorded"} 1.0',
            'customers_intake_messages_total{outcome="unknown_tenant"} 1.0',
            'customers_intake_dead_letters_total{reason="unknown_tenant"} 1.0',
        )
        await eventually(lambda: shows(metrics, wanted))
        assert call("GET", f"http://127.0.0.1:{port}/readyz")[0] == 200
        assert call("GET", f"http://127.0.0.1:{port}/livez")[0] == 200

        code, stdout, stderr = installed.run("intake", "redrive", "--key", "a", "--json")
        assert (code, stderr) == (0, ["Put back 0 of 1 dead letters."])
        assert json.loads(stdout) == {"read": 1, "redriven": 0}
        code, stdout, _ = installed.run("intake", "redrive", "--json")
        assert json.loads(stdout) == {"read": 1, "redriven": 1}
        await eventually(lambda: shows(metrics, [wanted[2].replace("1.0", "2.0")]))
        code, seconds = role.stop()
        assert (code, seconds < 10) == (0, True)
    assert "cust_" not in "".join(role.said)


async def shows(url: str, wanted: tuple[str, ...] | list[str]) -> bool:
    try:
        text = call("GET", url)[1].decode()
    except OSError:  # not listening yet
        return False
    return all(line in text for line in wanted)
