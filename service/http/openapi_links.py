"""Which operations follow from an answer: OpenAPI links, for tools that walk through the API.

Invariant: what a creation answers with `id` names one part of longer paths, those that begin with
its own; the other parts are the ones of its request.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from service.http.json_schemas import JsonObject
from service.http.routes import Route

_PATH_PART = re.compile(r"\{(\w+)\}")


def path_parts(path: str) -> list[str]:
    """The names that stand in braces."""
    return _PATH_PART.findall(path)


def links_from(route: Route, routes: Sequence[Route]) -> JsonObject:
    """By operation id, what can be done with the thing that this route has made."""
    if not any(answer.status == 201 for answer in route.answers):
        return {}
    known = path_parts(route.path)
    made = f"{route.path}/{{"
    return {
        other.operation_id: {
            "operationId": other.operation_id,
            "parameters": {
                name: f"$request.path.{name}" if name in known else "$response.body#/id"
                for name in path_parts(other.path)
            },
        }
        for other in routes
        if other.path.startswith(made) and len(path_parts(other.path)) == len(known) + 1
    }
