"""The documents against the code: what exists is documented, and what is documented exists.

Invariant: nothing is listed here that could be asked of the code, so a new route, problem, metric,
event, setting or command fails until the documents know it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from uuid import UUID

import pytest
import typer.main
from typer.core import TyperCommand, TyperGroup

from service.cli.main import app
from service.event_log import StoredEvent
from service.events import EVENT_TYPES
from service.http.customer_routes import CUSTOMER_ROUTES
from service.http.event_schemas import WATERMARK_NAME, event_name
from service.http.operations import operations_pages
from service.http.pages import DOCS_PATH, documentation_pages
from service.http.problem_kinds import PROBLEMS
from service.http.routes import Route
from service.kafka import event_record
from service.rights import ROLES
from service.settings import PREFIX, PREFIX_OF_TESTS, Settings, field_names, setting_name
from service.telemetry import Readiness
from tests.architecture.rooms import COMPOSITION_ROOTS, MAY_IMPORT
from tests.support.metric_names import metric_names

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)
COMMAND = typer.main.get_command(app)
TARGETS = set(
    re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
)


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def code_of(path: Path) -> Iterator[str]:
    """Each line of a code block, and each piece of code inside the text."""
    for number, piece in enumerate(path.read_text(encoding="utf-8").split("```")):
        if number % 2:
            yield from piece.splitlines()[1:]
        else:
            yield from (" ".join(code.split()) for code in re.findall(r"`([^`]+)`", piece))


def shown(pattern: str) -> list[tuple[str, str]]:
    """What the documents' code has of a pattern's first group, with the document's name."""
    found = {
        (str(path.relative_to(ROOT)), match)
        for path in DOCUMENTS
        for line in code_of(path)
        for match in re.findall(pattern, line)
    }
    return sorted(found)


def logged_events() -> Iterator[str]:
    """The first argument of every call that logs."""
    for package in ("service", "projections"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.Call(func=ast.Attribute(attr="info" | "warning" | "error"), args=args):
                        yield from re.findall(r"'([a-z_]+)'", ast.unparse(args[0]))


def leaves(command: TyperCommand | TyperGroup, *words: str) -> Iterator[str]:
    """Every command that can be run and is not hidden."""
    if isinstance(command, TyperGroup):
        if command.invoke_without_command:
            yield " ".join(words)
        for name, each in command.commands.items():
            yield from leaves(each, *words, name)
    elif not command.hidden:
        yield " ".join(words)


@pytest.mark.parametrize("route", CUSTOMER_ROUTES, ids=lambda route: route.operation_id)
def test_every_route_is_documented_with_its_scope(route: Route) -> None:
    row = f"| `{route.method} {route.path}` | `{route.scope}` |"
    assert row in text_of("docs/api.md")


def test_no_route_is_documented_that_is_not_there() -> None:
    documented = re.findall(r"^\| `([A-Z]+ /[^`]*)`", text_of("docs/api.md"), re.MULTILINE)
    assert sorted(documented) == sorted(f"{each.method} {each.path}" for each in CUSTOMER_ROUTES)


def test_every_page_is_documented() -> None:
    async def readiness() -> Readiness:
        raise AssertionError("nobody asks")

    pages = {*operations_pages(readiness, lambda: b""), *documentation_pages()}
    paths = {path for path in pages if not path.startswith((f"{DOCS_PATH}/", "/schemas/c"))}
    assert len(paths) == 8
    assert {path for path in paths if f"{path}`" not in text_of("docs/api.md")} == set()


def test_every_problem_is_documented_with_its_status() -> None:
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", text_of("docs/api.md"), re.MULTILINE)
    assert sorted((int(status), code) for status, code in rows) == sorted(
        (status, code) for code, (status, _) in PROBLEMS.items()
    )


def test_every_limit_is_documented_as_it_is() -> None:
    text = text_of("docs/operations.md").partition("## Limits")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w.]+)\.([A-Z_]+)` \| ([\d,]+) \|", text, re.MULTILINE)
    assert len(rows) == text.count("| `service.") + text.count("| `projections.") > 10
    for module, name, value in rows:
        assert getattr(import_module(module), name) == int(value.replace(",", "")), name


def test_every_metric_is_documented_with_its_labels() -> None:
    rows = re.findall(
        r"^\| `(customers_\w+)` \| ([\w, ]*)\|", text_of("docs/operations.md"), re.MULTILINE
    )
    documented = {name: set(re.findall(r"\w+", labels)) for name, labels in rows}
    assert documented == metric_names()


def test_no_metric_is_mentioned_that_is_not_there() -> None:
    names = metric_names()
    told = {match for _, match in shown(r"\b(customers_[a-z_]+)\b")} - {"customers_v1", *ROLES}
    assert {each for each in told if each.removesuffix("_count") not in names} == set()


def test_every_role_of_the_database_is_documented() -> None:
    operations = text_of("docs/operations.md")
    assert [role for role in ROLES if f"\n| `{role}` |" not in operations] == []


def test_every_log_line_is_documented() -> None:
    text = text_of("docs/operations.md").partition("## Logs")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)
    documented = [event for cell in cells for event in re.findall(r"`(\w+)`", cell)]
    assert sorted(documented) == sorted(set(logged_events()))


def test_every_event_type_is_documented() -> None:
    rows = re.findall(r"^\| `(customer\.\w+\.v\d+)` \|", text_of("docs/events.md"), re.MULTILINE)
    assert sorted(rows) == sorted([*(event_name(kind) for kind in EVENT_TYPES), WATERMARK_NAME])


def test_every_header_of_a_record_is_documented() -> None:
    trace = '{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}'
    stored = StoredEvent(
        *(1, UUID(int=1), "t", "c", 1, "customer.deleted", 1, "{}", trace, datetime.now(UTC)),
        is_forgotten=True,
    )
    names = {name for name, _ in event_record(stored, b"c", 0, b"e").headers}
    assert {"ce_traceparent", "ce_forgotten"} <= names
    assert {name for name in names if f"`{name}`" not in text_of("docs/events.md")} == set()


@pytest.mark.parametrize("field", field_names())
def test_the_default_of_every_setting_is_the_documented_one(field: str) -> None:
    row = re.search(rf"^\| `{field.upper()}` \| (.*?)\|", text_of("README.md"), re.MULTILINE)
    assert row is not None
    info = Settings.model_fields[field]
    default = "" if info.default_factory or info.default in {None, ""} else str(info.default)
    assert row[1].strip(" `") == (default.lower() if info.annotation is bool else default)


def test_no_setting_is_mentioned_that_is_not_there() -> None:
    known = {setting_name(field) for field in field_names()}
    told = shown(rf"\b({PREFIX}[A-Z_]*[A-Z])\b")
    assert told
    assert [
        each for each in told if each[1] not in known and not each[1].startswith(PREFIX_OF_TESTS)
    ] == []


@pytest.mark.parametrize("command", [*leaves(COMMAND)])
def test_every_command_is_documented(command: str) -> None:
    assert f"`customers {command}" in text_of("docs/operations.md")


@pytest.mark.parametrize(("name", "line"), shown(r"(?:^|\s)customers ([a-z][^|;&#)]*)"))
def test_a_command_that_is_shown_exists(name: str, line: str) -> None:
    words = line.split()
    command = COMMAND
    while isinstance(command, TyperGroup) and not _runs_itself(command, words):
        assert words[0] in command.commands, f"{name}: customers {line}"
        command = command.commands[words.pop(0)]
    known = {option for each in command.params for option in each.opts} | {"--help"}
    assert {word for word in words if word.startswith("--")} <= known, f"{name}: customers {line}"


def _runs_itself(command: TyperGroup, words: list[str]) -> bool:
    return command.invoke_without_command and (not words or words[0].startswith("-"))


@pytest.mark.parametrize(("name", "target"), shown(r"(?:^|\s)make ([a-z]+)"))
def test_a_target_that_is_shown_exists(name: str, target: str) -> None:
    assert target in TARGETS, name


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    broken = [
        link
        for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
        if "://" not in link and not _leads_somewhere(path, link)
    ]
    assert broken == []


def _leads_somewhere(path: Path, link: str) -> bool:
    file, _, anchor = link.partition("#")
    target = path.parent / file if file else path
    if not target.exists():
        return False
    if not anchor:
        return True
    headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
    return anchor in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}


def test_files_and_tests_that_are_named_exist() -> None:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/*.py"))
    files = shown(r"^((?:service|projections|tests|benchmarks)/[\w./-]+)$")
    names = shown(r"^(test_\w+)$")
    assert files
    assert names
    assert [each for each in files if not (ROOT / each[1]).exists()] == []
    assert [each for each in names if f"def {each[1]}(" not in tests] == []


def test_every_room_has_a_row_in_the_architecture() -> None:
    cells = re.findall(r"^\| (`[^|]+) \|", text_of("docs/architecture.md"), re.MULTILINE)
    rows = [room for cell in cells for room in re.findall(r"`(\w+)`", cell)]
    built = {room for room in {*MAY_IMPORT, *COMPOSITION_ROOTS} if find_spec(room)}
    assert sorted(rows) == sorted({"projections", *(room.split(".")[1] for room in built)})


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    pages = sorted(path.name for path in folder.glob("0*.md"))
    assert pages == re.findall(r"\((0[\w-]+\.md)\)", text_of("docs/decisions/README.md"))
    assert [int(name[:4]) for name in pages] == list(range(1, len(pages) + 1))
