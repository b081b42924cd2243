"""Reads a query string into the model of a route's parameters.

Invariant: the string is decoded once, strictly, as UTF-8; what no model field takes is a fault.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError

from service.errors import Fault
from service.http.faults import query_faults, shown_name
from service.http.problem_kinds import ProblemCode
from service.http.problems import Refused

FIELDS_MAX = 100  # of one query string


class QueryReader:
    """For one model, all of whose fields have defaults."""

    def __init__(self, model: type[BaseModel]) -> None:
        self._model = model
        properties = model.model_json_schema(by_alias=True).get("properties", {})
        self._allowed = sorted(properties)
        self._repeatable = {
            name for name, schema in properties.items() if schema.get("type") == "array"
        }
        self._empty = model()

    def read(self, raw: str) -> BaseModel:
        """Raises Refused with all faults at once; `raw` is without the question mark."""
        if not raw:
            return self._empty
        given: dict[str, str | list[str]] = {}
        faults: list[Fault] = []
        for name, value in _pairs(raw):
            if name in self._repeatable:
                given[name] = [*given.get(name, ()), value]
            elif name in given:
                detail = "This may be given only once."
                faults.append(Fault(shown_name(name), "repeated_parameter", detail))
            else:
                given[name] = value
        try:
            query = self._model.model_validate(given)
        except ValidationError as error:
            faults += query_faults(error)
        else:
            if not faults:
                return query
        raise self._refusal(faults)

    def _refusal(self, faults: list[Fault]) -> Refused:
        codes = {fault.code for fault in faults}
        code: ProblemCode = "invalid_parameter"
        if "unknown_parameter" in codes:
            code = "unknown_parameter"
        elif codes == {"invalid_cursor"}:
            code = "invalid_cursor"
        allowed = self._allowed if code == "unknown_parameter" else ()
        return Refused(code, faults=faults, allowed=allowed)


def _pairs(raw: str) -> list[tuple[str, str]]:
    try:
        raw.encode()  # bytes that were no UTF-8 came as lone surrogates
        return parse_qsl(raw, keep_blank_values=True, errors="strict", max_num_fields=FIELDS_MAX)
    except ValueError:
        detail = f"Expected at most {FIELDS_MAX} parameters in UTF-8."
        raise Refused("invalid_parameter", detail) from None
