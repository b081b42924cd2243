"""What one event changed of the customer as shown; pure.

Invariant: values are compared as the JSON that callers see, so true is not 1. What every event
moves (`version`, `updatedAt`), and what none does (`id`, `createdAt`), is left out.
"""

from __future__ import annotations

import orjson

from service.documents import CustomerDocument

LEFT_OUT = frozenset({"id", "version", "created_at", "updated_at"})

_FIELDS = tuple(name for name in CustomerDocument.model_fields if name not in LEFT_OUT)


def changes(before: CustomerDocument | None, after: CustomerDocument) -> bytes:
    """JSON: by field `{"from", "to"}`, in the document's order. None: there was nobody yet."""
    changed = {name for name in _FIELDS if _differs(before, after, name)}
    old = {} if before is None else orjson.loads(_json(before, changed))
    new = orjson.loads(_json(after, changed))
    return orjson.dumps({name: {"from": old.get(name), "to": new[name]} for name in new})


def _json(document: CustomerDocument, fields: set[str]) -> str:
    return document.model_dump_json(by_alias=True, include=fields)


def _differs(before: CustomerDocument | None, after: CustomerDocument, name: str) -> bool:
    old = None if before is None else getattr(before, name)
    new = getattr(after, name)
    if isinstance(old, dict) and old == new:
        return any(type(old[key]) is not type(new[key]) for key in old)
    return bool(old != new)
