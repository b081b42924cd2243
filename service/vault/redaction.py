"""What of an event tells about a person; pure.

Invariant: it follows from the marks in service.events alone, so a new personal field is sealed
without a word here. What is left keeps the event's shape: it decodes, and shows nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Final, NamedTuple, TypeAlias, Union, cast, get_args, get_origin

import orjson
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from service.events import EVENT_TYPES, Personal

Blank: TypeAlias = str | dict[str, object] | None


class _Spec(NamedTuple):
    """By the fields' names in JSON. Fields without anything personal are left out."""

    blanks: Mapping[str, Blank]  # a map of any keys is left without one
    nested: Mapping[str, _Spec]  # of fields that are a model, or a list of them

    def __bool__(self) -> bool:
        return bool(self.blanks or self.nested)


def is_personal(type_name: str) -> bool:
    """Whether events of this type hold anything personal; of a type that is not known: perhaps."""
    return bool(_SPECS.get(type_name, True))


def blanked(type_name: str, data: str) -> str | None:
    """The event's JSON with every personal value blank; None where it holds nothing personal."""
    spec = _SPECS[type_name]
    if not spec:
        return None
    fields: dict[str, object] = orjson.loads(data)
    _blank(fields, spec)
    return orjson.dumps(fields).decode()


def _blank(fields: dict[str, object], spec: _Spec) -> None:
    for name, blank in spec.blanks.items():
        if name in fields:
            fields[name] = blank
    for name, nested in spec.nested.items():
        held = fields.get(name) or ()
        for each in held if isinstance(held, list) else (held,):
            _blank(cast("dict[str, object]", each), nested)


def _spec(model: type[BaseModel]) -> _Spec:
    blanks: dict[str, Blank] = {}
    nested: dict[str, _Spec] = {}
    for name, field in model.model_fields.items():
        if any(isinstance(mark, Personal) for mark in field.metadata):
            blanks[field.alias or name] = _blank_of(field)
        elif spec := _nested(field):
            nested[field.alias or name] = spec
    return _Spec(blanks, nested)


def _blank_of(field: FieldInfo) -> Blank:
    kind = field.annotation
    if get_origin(kind) is dict:
        return {}
    if get_origin(kind) in {Union, UnionType} and type(None) in get_args(kind):
        return None
    return ""


def _nested(field: FieldInfo) -> _Spec:
    """Of a field that is a model, or a tuple of them."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return _spec(kind)
    return _Spec({}, {})


_SPECS: Final[Mapping[str, _Spec]] = {kind.type: _spec(kind) for kind in EVENT_TYPES}
