"""The error tree's codes and the API's problems are one vocabulary.

Invariant: whatever our errors carry has a problem of its own; nothing that a caller can meet falls
back to `internal_error`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import service
from service.errors import Conflict, NotFound, Unavailable
from service.http.problem_kinds import PROBLEMS, RETRY_AFTER_CODES
from service.http.problems import refused

WITH_A_CODE = {"NotFound", "Conflict", "Unavailable", "ConnectionLost"}


def codes_raised() -> Iterator[tuple[str, str]]:
    """Every (error, code) that is built with a literal code anywhere in the service."""
    for path in sorted(Path(service.__path__[0]).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str(code)), *_]) if (
                    name in WITH_A_CODE
                ):
                    yield name, code


RAISED = sorted(set(codes_raised()))


def test_codes_are_found_at_all() -> None:
    assert ("NotFound", "customer_not_found") in RAISED
    assert ("Unavailable", "overloaded") in RAISED


@pytest.mark.parametrize(("name", "code"), RAISED)
def test_a_code_of_ours_is_a_problem(name: str, code: str) -> None:
    assert code in PROBLEMS
    assert (PROBLEMS[code][0] == 503) == (name in {"Unavailable", "ConnectionLost"})


@pytest.mark.parametrize("error", [NotFound("customer_deleted"), Conflict("email_taken")])
def test_an_error_is_answered_under_its_code(error: NotFound | Conflict) -> None:
    refusal = refused(error)
    assert refusal is not None
    assert refusal.code == error.code


@pytest.mark.parametrize("code", [code for name, code in RAISED if name == "Unavailable"])
def test_what_is_unavailable_may_be_tried_again(code: str) -> None:
    refusal = refused(Unavailable(code, "Not now."))
    assert refusal is not None
    assert refusal.code == code
    assert code in RETRY_AFTER_CODES
