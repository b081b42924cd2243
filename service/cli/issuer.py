"""The issuer of JWTs, where the settings name one."""

from __future__ import annotations

import asyncio
from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

from service.errors import Unavailable
from service.settings import Settings

if TYPE_CHECKING:
    from service.json_web_tokens import JsonWebTokens


def json_web_tokens(settings: Settings) -> JsonWebTokens | None:
    """Raises ConfigurationError for a key file that is none."""
    if settings.jwt_issuer is None or settings.jwt_audience is None or not settings.accepts_jwt:
        return None
    from service.json_web_tokens import FixedKey, JsonWebTokens, RemoteKeys

    if settings.jwt_public_key_file is not None:
        keys: FixedKey | RemoteKeys = FixedKey(settings.jwt_public_key_file)
    else:
        assert settings.jwt_jwks_url is not None, "accepts_jwt says so"
        keys = RemoteKeys(settings.jwt_jwks_url, fetch)
    return JsonWebTokens(
        keys,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        tenant_claim=settings.jwt_tenant_claim,
        scope_claim=settings.jwt_scope_claim,
        leeway_seconds=settings.jwt_leeway_seconds,
    )


async def fetch(url: str) -> bytes:
    """The document at `url`, as far as it may be used. Raises Unavailable or OSError.

    In a thread: it happens every few minutes, and needs no HTTP client of its own.
    """
    return await asyncio.to_thread(_get, url)


def _get(url: str) -> bytes:
    from service.json_web_tokens import FETCH_TIMEOUT_SECONDS, KEY_SET_BYTES_MAX

    request = Request(url, headers={"Accept": "application/json"})  # noqa: S310 - http(s) only
    try:
        with urlopen(request, timeout=FETCH_TIMEOUT_SECONDS) as answer:  # noqa: S310
            text: bytes = answer.read(KEY_SET_BYTES_MAX + 1)
    except HTTPException as error:
        raise Unavailable("issuer_unavailable", "The issuer's answer is no HTTP.") from error
    return text
