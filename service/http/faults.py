"""From pydantic's errors to ours: a pointer, a stable code, a sentence, and never the value.

Invariant: the codes here belong to the contract; pydantic's own names and texts never get out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from service.errors import Fault

FAULTS_MAX = 100  # named in one answer

# A name that the caller chose: shown where it looks like a field's, since it may be an address, a
# number or a sentence as well.
_NAME = re.compile(r"(?!(?:[^0-9]*[0-9]){5})[!-$&-*,-?A-~]{0,64}")
_HIDDEN = "…"

_KINDS: Mapping[str, tuple[str, str]] = {
    "missing": ("required", "This is required."),
    "extra_forbidden": ("unknown_field", "There is no such field here."),
    "string_too_short": ("blank", "This may not be blank."),
    "string_too_long": ("too_long", "At most {max_length} characters are allowed."),
    "too_long": ("too_many", "At most {max_length} are allowed."),
    "string_pattern_mismatch": ("invalid_characters", "There is a character that is not allowed."),
    "string_unicode": ("invalid_characters", "There is a character that is not allowed."),
    "string_type": ("invalid_type", "A string is expected."),
    "bool_type": ("invalid_type", "true or false is expected."),
    "tuple_type": ("invalid_type", "An array is expected."),
    "dict_type": ("invalid_type", "An object is expected."),
    "model_type": ("invalid_type", "An object is expected."),
}
_NULL = ("null_not_allowed", "This may not be null.")
_OTHER = ("invalid_value", "This value cannot be used.")
_OF_TWO_PARAMETERS: Mapping[str, str] = {
    "cursor_excludes_page": "page",
    "cursor_excludes_after": "after",
    "at_excludes_version": "at",
}
"""With the one that is named as being at fault."""

OWN_CODES = frozenset(
    {
        "invalid_email",
        "invalid_phone",
        "unknown_country",
        "not_an_integer",
        "out_of_range",
        "invalid_time",
        "not_a_boolean",
        "unknown_sort",
        "unknown_type",
        "repeated_sort_field",
        "invalid_cursor",
        "too_many",
        "use_address_endpoints",
        *_OF_TWO_PARAMETERS,
    }
)
"""Raised by our own validators, whose sentences are safe to repeat."""


def body_faults(error: ValidationError) -> list[Fault]:
    """The faults of a body, by JSON Pointer: the first FAULTS_MAX of them."""
    errors = error.errors(include_url=False)
    return list(islice((fault for each in errors for fault in _body_faults(each)), FAULTS_MAX))


def query_faults(error: ValidationError) -> list[Fault]:
    """Every fault of a query, by the parameter's name."""
    return [_query_fault(each) for each in error.errors(include_url=False)[:FAULTS_MAX]]


def _body_faults(error: ErrorDetails) -> Iterator[Fault]:
    pointer = "".join(f"/{_pointer_part(part)}" for part in error["loc"])
    if error["type"] == "metadata":
        for key, code, detail in error.get("ctx", {})["faults"]:
            yield Fault(f"{pointer}/{_pointer_part(key)}", code, detail)
    else:
        yield Fault(pointer, *_code_and_detail(error))


def _query_fault(error: ErrorDetails) -> Fault:
    if error["type"] == "extra_forbidden":
        return Fault(
            shown_name(str(error["loc"][0])),
            "unknown_parameter",
            "There is no such parameter here.",
        )
    name = str(error["loc"][0]) if error["loc"] else _OF_TWO_PARAMETERS[error["type"]]
    return Fault(name, *_code_and_detail(error))


def _code_and_detail(error: ErrorDetails) -> tuple[str, str]:
    kind = error["type"]
    if kind in OWN_CODES:
        return kind, error["msg"]
    if kind.endswith("_type") and error["input"] is None:
        return _NULL
    code, detail = _KINDS.get(kind, _OTHER)
    return code, detail.format_map(error.get("ctx", {}))


def _pointer_part(part: str | int) -> str:
    if isinstance(part, int):
        return str(part)
    return shown_name(part).replace("~", "~0").replace("/", "~1")


def shown_name(name: str) -> str:
    """A name that the caller made up is told only where it tells of nobody."""
    return name if _NAME.fullmatch(name) else _HIDDEN
