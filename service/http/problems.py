"""From an error to its RFC 9457 answer: the one place where a status is chosen.

Invariant: an answer holds codes and our own sentences, never a value that the caller sent, since
any value may be personal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from urllib.parse import quote

import orjson
from aiohttp import hdrs, web

from service.errors import (
    Conflict,
    EventsArchived,
    Fault,
    NotFound,
    PreconditionFailed,
    Rejected,
    RightMissing,
    Unavailable,
)
from service.http.headers import COMMON_HEADERS, ETAG, etag
from service.http.problem_kinds import (
    PROBLEM_JSON,
    PROBLEMS,
    RETRY_AFTER_CODES,
    ProblemCode,
    problem_type,
)

RETRY_AFTER_SECONDS = 1.0  # where the error does not say
AUTHENTICATE = {
    "missing_token": 'Bearer realm="customers"',
    "invalid_token": 'Bearer realm="customers", error="invalid_token"',
    "insufficient_scope": 'Bearer realm="customers", error="insufficient_scope"',
}


class Refused(Exception):
    """An answer other than the one asked for, by its code; all else is for the caller's sake."""

    def __init__(
        self,
        code: ProblemCode,
        detail: str | None = None,
        *,
        faults: Sequence[Fault] = (),
        allowed: Sequence[str] = (),
        current_version: int | None = None,
        retry_after_seconds: float = RETRY_AFTER_SECONDS,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.faults = faults
        self.allowed = allowed
        self.current_version = current_version
        self.retry_after_seconds = retry_after_seconds
        self.headers = headers or {}


def refused(error: Exception) -> Refused | None:
    """The refusal that an error stands for; None where it is a fault of this service."""
    match error:
        case Refused():
            return error
        case Rejected(faults=faults):
            if any(fault.code == "invalid_cursor" for fault in faults):
                return Refused("invalid_cursor", faults=faults)
            return Refused("validation_failed", faults=faults)
        case NotFound(code=code) | Conflict(code=code):
            return Refused(_known(code))
        case PreconditionFailed(current_version=version):
            return Refused(
                "precondition_failed", current_version=version, headers={ETAG: etag(version)}
            )
        case Unavailable(code=code, detail=detail, retry_after_seconds=seconds):
            return Refused(_known(code), detail, retry_after_seconds=seconds)
        case EventsArchived():
            return Refused("events_archived", str(error))
        case RightMissing():
            return Refused("database_not_ready", "The database is not prepared for this.")
        case web.RequestPayloadError() | ConnectionError():
            return Refused("bad_request", "The body did not arrive as its headers announced it.")
        case _:
            return None


def problem_response(refusal: Refused, request_id: str) -> web.Response:
    code = refusal.code
    status, title = PROBLEMS[code]
    problem: dict[str, object] = {
        "type": problem_type(code),
        "title": title,
        "status": status,
        "detail": refusal.detail or title,
        "instance": f"urn:request:{quote(request_id, safe='')}",
        "code": code,
        "requestId": request_id,
    }
    if refusal.faults:
        problem["errors"] = [
            {"pointer": fault.pointer, "code": fault.code, "detail": fault.detail}
            for fault in refusal.faults
        ]
    if refusal.allowed or code == "unknown_parameter":
        problem["allowed"] = list(refusal.allowed)
    if refusal.current_version is not None:
        problem["currentVersion"] = refusal.current_version
    headers = {**COMMON_HEADERS, hdrs.CONTENT_TYPE: PROBLEM_JSON, **refusal.headers}
    headers |= retry_headers(refusal)
    if code in AUTHENTICATE:
        headers[hdrs.WWW_AUTHENTICATE] = AUTHENTICATE[code]
    return web.Response(status=status, body=orjson.dumps(problem), headers=headers)


def retry_headers(refusal: Refused) -> Mapping[str, str]:
    """When to come again, where that helps."""
    if refusal.code not in RETRY_AFTER_CODES:
        return {}
    return {hdrs.RETRY_AFTER: str(max(1, math.ceil(refusal.retry_after_seconds)))}


def _known(code: str) -> ProblemCode:
    """The error tree's codes and ours are one vocabulary; a test holds them together."""
    for known in PROBLEMS:
        if known == code:
            return known
    return "internal_error"
