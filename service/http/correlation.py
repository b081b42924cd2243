"""What ties an answer, a log line and an event together: the request id and the trace context.

Invariant: only what is safe to repeat in a header and in a log line is taken from a caller.
"""

from __future__ import annotations

import re

from aiohttp import web
from multidict import CIMultiDictProxy, istr
from uuid_utils import uuid7

X_REQUEST_ID = istr("X-Request-Id")
TRACEPARENT = istr("traceparent")

_VISIBLE = re.compile(r"[!-~]{1,128}")  # the most that log stores take as one field
# W3C Trace Context, version 00; later versions begin the same way. All zeros name nothing.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


def new_request_id() -> str:
    return uuid7().hex


def request_id_of(headers: CIMultiDictProxy[str]) -> str:
    """The caller's own where it is fit to be repeated, else a new one."""
    given = headers.get(X_REQUEST_ID)
    return given if given is not None and _VISIBLE.fullmatch(given) else new_request_id()


def traceparent_of(request: web.BaseRequest) -> str | None:
    """The caller's; None where there is none, or one that does not follow the standard."""
    given = request.headers.get(TRACEPARENT)
    return given if given is not None and _TRACEPARENT.fullmatch(given) else None
