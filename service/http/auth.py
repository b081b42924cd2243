"""Who calls, and whether they may: the bearer token and its scopes.

Invariant: a token decides its tenant, and appears in no answer, no log line and no error.
"""

from __future__ import annotations

import re
from typing import Protocol

from aiohttp import hdrs
from multidict import CIMultiDictProxy

from service.http.problems import Refused
from service.http.routes import Scope
from service.tokens import Principal

ALL_SCOPES = "admin"  # a token with it may do everything in its tenant

_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([!-~]+)")


class Authenticator(Protocol):
    async def authenticate(self, bearer: str) -> Principal | None:
        """None for what is unknown, expired or revoked; Unavailable where nobody can tell now."""


def bearer_of(headers: CIMultiDictProxy[str]) -> str:
    """Raises Refused where there is none."""
    given = headers.get(hdrs.AUTHORIZATION)
    if given is None:
        raise Refused("missing_token")
    match = _BEARER.fullmatch(given)
    if match is None:
        raise Refused("missing_token", "Expected: Authorization: Bearer TOKEN.")
    return match[1]


def check_scope(principal: Principal, scope: Scope) -> None:
    """Raises Refused `insufficient_scope`."""
    if scope not in principal.scopes and ALL_SCOPES not in principal.scopes:
        raise Refused("insufficient_scope", f"This needs the scope {scope}.", allowed=(scope,))
