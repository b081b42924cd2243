"""The field types of request bodies: what each accepts, and the form in which it is kept.

Invariant: what passes here is what is stored and shown, so a value that was answered once passes
again unchanged. Text is trimmed; NUL is refused everywhere because PostgreSQL cannot hold it.
Limits are in characters. An error names a code and never repeats the value.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, TypeAlias

import pycountry
from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from service.events import MetadataValue
from service.http.emails import EMAIL_CHARACTERS_MAX, normalized_email
from service.http.phones import PHONE_CHARACTERS_MAX, is_phone

NAME_CHARACTERS_MAX = 256
LABEL_CHARACTERS_MAX = 100
LINE_CHARACTERS_MAX = 255
CITY_CHARACTERS_MAX = 100
STATE_CHARACTERS_MAX = 100
POSTAL_CODE_CHARACTERS_MAX = 30
TAG_CHARACTERS_MAX = 255
METADATA_KEY_CHARACTERS_MAX = 40
METADATA_TEXT_CHARACTERS_MAX = 500
METADATA_FAULTS_MAX = 100  # looked for: no answer names more
INTEGER_MAX = 2**63 - 1  # of metadata numbers, either sign: what every store and reader holds
EXACT_FLOAT_MAX = 1e15  # JSON writes larger floats with an exponent, which stores rewrite

_NO_NUL = r"^[^\x00]*$"
_NO_COMMA_NO_CONTROL = r"^[^,\x00-\x1f\x7f-\x9f]*$"


def _email(value: str) -> str:
    email = normalized_email(value)
    if email is None:
        raise PydanticCustomError("invalid_email", "This is not an e-mail address.")
    return email


def _phone(value: str) -> str:
    if value and not is_phone(value):
        raise PydanticCustomError("invalid_phone", "This is not a telephone number.")
    return value


@cache
def _countries() -> frozenset[str]:
    return frozenset(country.alpha_2 for country in pycountry.countries)


def _country(value: str) -> str:
    code = value.upper()
    if not value.isascii() or code not in _countries():  # upper() makes SS of a sharp s
        raise PydanticCustomError(
            "unknown_country", "This is not a country's two-letter code (ISO 3166-1 alpha-2)."
        )
    return code


def text(characters_max: int, *, is_required: bool = False) -> StringConstraints:
    """Trimmed, at most so long, without NUL; not blank where it is required."""
    return StringConstraints(
        strip_whitespace=True,
        min_length=1 if is_required else None,
        max_length=characters_max,
        pattern=_NO_NUL,
    )


def counted_first(
    maximum: int, code: str = "too_many", detail: str = "At most {maximum} are allowed."
) -> BeforeValidator:
    """An array that is too long is refused for its length alone: faults of its elements, of which
    a body has room for a hundred thousand, would take seconds to make."""

    def count(given: object) -> object:
        if not isinstance(given, list):
            return given
        if len(given) > maximum:
            raise PydanticCustomError(code, detail, {"maximum": maximum})
        return tuple(given)  # what a strict model takes from Python

    return BeforeValidator(count)


Email: TypeAlias = Annotated[
    str,
    StringConstraints(strip_whitespace=True),
    AfterValidator(_email),
    WithJsonSchema({"type": "string", "format": "email", "maxLength": EMAIL_CHARACTERS_MAX}),
]
Name: TypeAlias = Annotated[str, text(NAME_CHARACTERS_MAX)]
Phone: TypeAlias = Annotated[str, text(PHONE_CHARACTERS_MAX), AfterValidator(_phone)]
Label: TypeAlias = Annotated[str, text(LABEL_CHARACTERS_MAX)]
Line: TypeAlias = Annotated[str, text(LINE_CHARACTERS_MAX, is_required=True)]
City: TypeAlias = Annotated[str, text(CITY_CHARACTERS_MAX, is_required=True)]
State: TypeAlias = Annotated[str, text(STATE_CHARACTERS_MAX)]
PostalCode: TypeAlias = Annotated[str, text(POSTAL_CODE_CHARACTERS_MAX)]
Country: TypeAlias = Annotated[
    str,
    StringConstraints(strip_whitespace=True),
    AfterValidator(_country),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z]{2}$"}),
]
Tag: TypeAlias = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=TAG_CHARACTERS_MAX,
        pattern=_NO_COMMA_NO_CONTROL,
    ),
]


def _metadata(given: object) -> dict[str, object]:
    """The faults of a metadata object in one error, under `faults`: (key, code, detail) each."""
    if not isinstance(given, dict):
        raise PydanticCustomError("dict_type", "An object is expected.")
    faults: list[tuple[str, str, str]] = []
    kept: dict[str, object] = {}
    for key, value in given.items():
        fault = _key_fault(key) or _value_fault(value)
        if fault is None:
            kept[key] = _plain_number(value) if isinstance(value, float) else value
        else:
            faults.append((key, *fault))
            if len(faults) == METADATA_FAULTS_MAX:
                break
    if faults:
        raise PydanticCustomError("metadata", "The metadata has faults.", {"faults": faults})
    return kept


def _key_fault(key: str) -> tuple[str, str] | None:
    if len(key) > METADATA_KEY_CHARACTERS_MAX:
        return "too_long", f"A key has at most {METADATA_KEY_CHARACTERS_MAX} characters."
    if "\0" in key:
        return "invalid_characters", "A key holds a character that is not allowed."
    return None


def _value_fault(value: object) -> tuple[str, str] | None:
    if isinstance(value, str):
        if len(value) > METADATA_TEXT_CHARACTERS_MAX:
            return "too_long", f"At most {METADATA_TEXT_CHARACTERS_MAX} characters are allowed."
        if "\0" in value:
            return "invalid_characters", "There is a character that is not allowed."
    elif isinstance(value, int | float):
        if not -INTEGER_MAX <= value <= INTEGER_MAX:  # nor is NaN
            return "out_of_range", "The number is outside of what 64 bits hold."
    elif value is not None:
        return "invalid_type", "Only strings, numbers, booleans and null are allowed here."
    return None


def _plain_number(value: float) -> float | int:
    """The same number in the one form that every store writes back as it was."""
    return int(value) if abs(value) >= EXACT_FLOAT_MAX else value + 0.0  # -0.0 becomes 0.0


Metadata: TypeAlias = Annotated[
    dict[str, MetadataValue],
    PlainValidator(_metadata),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"maxLength": METADATA_KEY_CHARACTERS_MAX},
            "additionalProperties": {
                "type": ["string", "number", "boolean", "null"],
                "maxLength": METADATA_TEXT_CHARACTERS_MAX,
                "minimum": -INTEGER_MAX,
                "maximum": INTEGER_MAX,
            },
        }
    ),
]
