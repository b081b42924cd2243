"""Requests as the documents print them, sent with `curl` to processes, one after the other.

Invariant: only the address, the token and ids that were answered are put in; the rest of a command
is as its reader copies it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from asyncio.subprocess import PIPE
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.topics import eventually
from tests.system.installation import Installation

README = Path(__file__).parents[2] / "README.md"
EXAMPLE = re.compile(
    r"^\$ ((?:call|echo|customers) .*?)\n((?:HTTP/1\.1 |Published|\{).*?)(?=\n\$ |\n```)",
    re.DOTALL | re.MULTILINE,
)
DEFINITION = re.compile(r"^call\(\) \{.*\}$", re.MULTILINE)
VARYING = (
    (re.compile(r"\b(cust|addr)_[0-9a-z]{26}"), r"\1_ID"),
    (re.compile(r'"\d{4}-\d\d-\d\dT[\d:.]+Z"'), '"TIME"'),
    (re.compile(r'"requestId":"[0-9a-f]{32}"'), '"requestId":"ID"'),
)
AUTHORIZED = "-H 'Authorization: Bearer '$TOKEN"
JSON = "-H 'Content-Type: application/json'"
STATUS_LAST = r"curl -s -w '\n%{http_code}'"
NEW_CUSTOMER = """{
  "email": "jane@example.com", "firstName": "Jane", "lastName": "Doe", "phone": "+1-555-0123",
  "tags": ["referral"], "metadata": {"source": "partner-campaign"}
}"""
CHANGES = """{
  "firstName": "Janet", "tags": ["vip", "referral"],
  "metadata": {"segment": "vip", "source": "partner-campaign"}
}"""
OFFICE = """{
  "label": "Office", "line1": "789 Business Blvd", "city": "San Francisco", "state": "CA",
  "postalCode": "94102", "country": "US"
}"""


@dataclass
class Terminal:
    """A shell, and the variables that its user has set."""

    variables: dict[str, str] = field(default_factory=dict)

    async def runs(self, command: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", command), env=self.variables, stdout=PIPE, stderr=PIPE
        )
        said, told = await process.communicate()
        is_reading = "erase verify" in command  # which fails as long as something is left
        assert process.returncode == 0 or is_reading, (command, told)
        return (said or told).decode()

    async def curl(self, arguments: str) -> tuple[int, dict[str, object]]:
        """The status and the body, which is empty where there is none."""
        said = await self.runs(f"{STATUS_LAST} {arguments} {AUTHORIZED}")
        body, _, status = said.rpartition("\n")
        return int(status), json.loads(body or "{}")


@pytest.fixture(scope="module")
async def terminal(installation: Installation) -> Terminal:
    roles = [installation.launch(name) for name in ("api", "relay", "projections", "intake")]
    await installation.until_ready(*roles)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    told = {f"CUSTOMERS_{name}": value for name, value in installation.settings.items()}
    told["CUSTOMERS_DATA_DIRECTORY"] = str(installation.folder)
    return Terminal({"URL": roles[0].url, "TOKEN": installation.token, "PATH": path, **told})


async def test_the_readmes_tour_goes_as_printed(terminal: Terminal) -> None:
    readme = README.read_text(encoding="utf-8")
    (definition,) = DEFINITION.findall(readme)
    examples = EXAMPLE.findall(readme)
    assert len(examples) >= 15
    for command, printed in examples:
        said: list[str] = []
        with suppress(AssertionError):  # what was said last is judged below
            await eventually(lambda: _says(terminal, definition, command, printed, said))  # noqa: B023
        _agree(printed, said[-1])


async def _says(
    terminal: Terminal, definition: str, command: str, printed: str, said: list[str]
) -> bool:
    """What only reads is asked again for a while: the tour says so where it takes a moment."""
    text = (await terminal.runs(f"{definition}\n{command}")).replace("\r\n", "\n").rstrip("\n")
    said.append(text)
    found = re.search(r'"id":"(cust_\w+)"', text)
    if found is not None:
        terminal.variables.setdefault("ID", found[1])
    only_reads = "-d " not in command and "-X " not in command and "publish" not in command
    return not only_reads or _agrees(printed, text)


def _agree(printed: str, said: str) -> None:
    assert _agrees(printed, said), (printed, said)


def _agrees(printed: str, said: str) -> bool:
    """Every line of the head that is printed was said; the body agrees but for what is left out."""
    if not printed.startswith("HTTP/"):
        return _is_as_printed(_settled(printed), _settled(said))
    printed_head, _, printed_body = _settled(printed).partition("\n\n")
    head, _, body = _settled(said).partition("\n\n")
    is_head = set(printed_head.splitlines()) <= set(head.splitlines())
    return is_head and _is_as_printed(printed_body, body)


def _is_as_printed(printed: str, said: str) -> bool:
    pieces = re.sub(r"\n\s*", "", printed).split("…")
    return re.fullmatch(".*".join(map(re.escape, pieces)), said) is not None


def _settled(text: str) -> str:
    """Without what is another one each time."""
    for pattern, replacement in VARYING:
        text = pattern.sub(replacement, text)
    return text


async def test_the_reference_goes_as_printed(terminal: Terminal) -> None:
    curl, known = terminal.curl, terminal.variables
    status, created = await curl(f"-X POST $URL/user {JSON} -d '{NEW_CUSTOMER}'")
    assert (status, created["email"], created["firstName"]) == (201, "jane@example.com", "Jane")
    known["ID"] = str(created["id"])
    assert await curl("$URL/user/$ID") == (200, created)
    status, updated = await curl(f"-X PUT $URL/user/$ID {JSON} -d '{CHANGES}'")
    assert (status, updated["firstName"], updated["lastName"]) == (200, "Janet", "Doe")
    await eventually(lambda: is_listed(terminal))

    status, address = await curl(f"-X POST $URL/user/$ID/address {JSON} -d '{OFFICE}'")
    assert (status, address["isDefault"], address["city"]) == (201, True, "San Francisco")
    known["ADDRESS_ID"] = str(address["id"])
    assert await curl("-X DELETE $URL/user/$ID/address/$ADDRESS_ID") == (204, {})
    status, tagged = await curl(
        f"""-X POST $URL/user/$ID/tag {JSON} -d '{{"tags":["wholesale","vip"]}}'"""
    )
    assert (status, tagged["addresses"]) == (200, [])
    assert tagged["tags"] == ["referral", "vip", "wholesale"]
    status, inactive = await curl(f"""-X PUT $URL/user/$ID {JSON} -d '{{"active":false}}'""")
    assert (status, inactive["active"]) == (200, False)
    assert await curl("-X DELETE $URL/user/$ID") == (204, {})
    status, problem = await curl("$URL/user/$ID")
    assert (status, problem["code"]) == (404, "customer_deleted")


async def is_listed(terminal: Terminal) -> bool:
    query = "page=1&display=20&sort=createdAt:desc&q=doe&tag=vip&since=2024-01-01"
    status, page = await terminal.curl(f"'{terminal.variables['URL']}/user?{query}'")
    assert status == 200
    return [model["id"] for model in page["models"]] == [terminal.variables["ID"]]
