"""The rules of docs/architecture.md about imports, proved on the code as it is.

import-linter's contracts stand in pyproject.toml; here they are run, and what they cannot say is
checked on the same graph of imports.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

import projections
import service
from tests.architecture.rooms import (
    BORDERS,
    COMPOSITION_ROOTS,
    MAY_IMPORT,
    PROJECTIONS_MAY_IMPORT,
    PURE_IMPORTS,
    PURE_ROOMS,
)

ROOT = Path(service.__file__).parent.parent
SHIPPED = (service, projections)
CLOCK_READINGS = {"now", "utcnow", "today"}
ENVIRONMENT_READERS = {
    "service/settings.py",  # what composition roots read it with
    "service/embedded/child_process.py",  # hands a bare environment to its children
}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(
        "service", "projections", include_external_packages=True, cache_dir=None
    )


def room_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def rooms_in(graph: grimp.ImportGraph) -> set[str]:
    return {room_of(module) for module in ours(graph) if "." in module}


def ours(graph: grimp.ImportGraph) -> list[str]:
    return sorted(module for module in graph.modules if not graph.is_module_squashed(module))


def imports_of(graph: grimp.ImportGraph, room: str) -> Iterator[tuple[str, str]]:
    """Every direct import out of a room: (importing module, imported module)."""
    for module in ours(graph):
        if room_of(module) == room:
            for imported in sorted(graph.find_modules_directly_imported_by(module)):
                if room_of(imported) != room:
                    yield module, imported


def sources() -> Iterator[Path]:
    for package in SHIPPED:
        yield from sorted(Path(package.__path__[0]).rglob("*.py"))


def test_the_contracts_in_pyproject_are_kept() -> None:
    """In a process of its own: import-linter sets up logging for the whole process."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_every_room_is_on_the_map(graph: grimp.ImportGraph) -> None:
    on_the_map = MAY_IMPORT.keys() | COMPOSITION_ROOTS
    assert {room for room in rooms_in(graph) if room.startswith("service.")} <= on_the_map


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_room_imports_only_what_the_map_allows(graph: grimp.ImportGraph, room: str) -> None:
    strangers = [
        f"{module} -> {imported}"
        for module, imported in imports_of(graph, room)
        if imported.startswith(("service.", "projections"))
        and room_of(imported) not in MAY_IMPORT[room]
    ]
    assert strangers == []


def test_projections_stand_on_the_ground_floor(graph: grimp.ImportGraph) -> None:
    strangers = [
        f"{module} -> {imported}"
        for module in ours(graph)
        if module.startswith("projections")
        for imported in sorted(graph.find_modules_directly_imported_by(module))
        if imported.startswith("service.") and room_of(imported) not in PROJECTIONS_MAY_IMPORT
    ]
    assert strangers == []


@pytest.mark.parametrize("package", BORDERS)
def test_a_third_party_package_has_one_border(graph: grimp.ImportGraph, package: str) -> None:
    importers = {
        room_of(module)
        for module in ours(graph)
        if package in graph.find_modules_directly_imported_by(module)
    }
    assert importers <= BORDERS[package]


@pytest.mark.parametrize("room", sorted(PURE_ROOMS))
def test_a_pure_room_imports_only_what_is_pure(graph: grimp.ImportGraph, room: str) -> None:
    impure = [
        f"{module} -> {imported}"
        for module, imported in imports_of(graph, room)
        if imported not in PURE_IMPORTS and room_of(imported) not in PURE_ROOMS
    ]
    assert impure == []


@pytest.mark.parametrize("room", sorted(PURE_ROOMS))
def test_a_pure_room_reads_no_clock_and_draws_no_id(room: str) -> None:
    readings = [
        f"{path.name}:{node.lineno}"
        for path in files_of(room)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if _reads_clock(node) or _takes_id_maker(node)
    ]
    assert readings == []


def files_of(room: str) -> list[Path]:
    path = ROOT / room.replace(".", "/")
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def _reads_clock(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in CLOCK_READINGS


def _takes_id_maker(node: ast.AST) -> bool:
    """What makes an id looks at the clock and at chance."""
    return isinstance(node, ast.ImportFrom) and any(
        name.name.startswith("new_") for name in node.names
    )


def test_only_composition_roots_read_the_environment() -> None:
    readers = {
        path.relative_to(ROOT).as_posix()
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "environb"}
    }
    outside = {
        reader for reader in readers if not reader.startswith(("service/cli/", "service/__main__"))
    }
    assert outside <= ENVIRONMENT_READERS


def test_nothing_shipped_imports_tests_or_benchmarks(graph: grimp.ImportGraph) -> None:
    assert {"tests", "benchmarks"}.isdisjoint(graph.modules)


@pytest.mark.parametrize(
    ("module", "foreign"),
    [
        ("service.events", ("aiohttp", "asyncpg", "aiokafka", "asyncio")),
        ("service.customer", ("aiohttp", "asyncpg", "aiokafka", "asyncio")),
        ("service.postgres", ("aiohttp", "aiokafka")),
        ("service.http.routes", ("aiokafka", "typer", "pydantic_settings")),
    ],
)
def test_importing_a_room_does_not_load_a_foreign_package(
    module: str, foreign: tuple[str, ...]
) -> None:
    """In an interpreter of its own: here everything is loaded already."""
    script = f"import sys, {module}; print([name for name in {foreign!r} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert result.stdout.strip() == "[]"
