"""JWTs of an outside issuer, as a second way to call; where settings name one.

Invariants: a key decides the algorithm and the token never does, so neither `none` nor an HMAC made
with a public key passes. The issuer is asked for its keys seldom, whatever callers send.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import jwt
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from service.errors import ConfigurationError, Unavailable
from service.tokens import Claims

KEYS_FRESH_SECONDS = 300.0
KEYS_GRACE_SECONDS = 3_600.0  # keys that could not be fetched anew still serve for so long
FETCH_PAUSE_SECONDS = 10.0  # between two fetches, whatever key ids are asked for
FETCH_TIMEOUT_SECONDS = 5.0
KEY_SET_BYTES_MAX = 262_144
RSA_BITS_MIN = 2_048
SUBJECT_CHARACTERS_MAX = 255
TENANT_CHARACTERS_MAX = 63
CLIENT_CHARACTERS_MAX = 100
CLIENT_CLAIMS = ("client_id", "azp")  # RFC 9068, and OpenID Connect
REQUIRED_CLAIMS = ["exp", "iss", "aud", "sub"]

Fetch: TypeAlias = Callable[[str], Awaitable[bytes]]
PublicKey: TypeAlias = RSAPublicKey | Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A key of the issuer, and the one algorithm that it is for."""

    id: str | None
    algorithm: Literal["RS256", "EdDSA"]
    key: PublicKey


class IssuerKeys(Protocol):
    """Finds the key that a token names; None names the only one there is."""

    async def find(self, key_id: str | None) -> IssuerKey | None: ...


class JsonWebTokens:
    """Verifies JWTs and reads the tenant, the scopes and the subject out of them."""

    def __init__(
        self,
        keys: IssuerKeys,
        *,
        issuer: str,
        audience: str,
        tenant_claim: str = "tenant",
        scope_claim: str = "scope",
        leeway_seconds: float = 30.0,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._tenant_claim = tenant_claim
        self._scope_claim = scope_claim
        self._leeway_seconds = leeway_seconds

    async def verify(self, bearer: str) -> Claims | None:
        """None for what is not to be trusted; Unavailable where the issuer's keys are not known."""
        try:
            key_id = jwt.get_unverified_header(bearer).get("kid")
            key = await self._keys.find(key_id if isinstance(key_id, str) else None)
            if key is None:
                return None
            payload = jwt.decode(
                bearer,
                key.key,
                algorithms=[key.algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway_seconds,
                options={"require": REQUIRED_CLAIMS},
            )
        except (jwt.PyJWTError, ValueError):
            return None
        tenant = _text(payload.get(self._tenant_claim), TENANT_CHARACTERS_MAX)
        subject = _text(payload["sub"], SUBJECT_CHARACTERS_MAX)
        if tenant is None or subject is None:
            return None
        return Claims(
            tenant=tenant,
            scopes=_scopes(payload.get(self._scope_claim)),
            subject=subject,
            expires_in_seconds=int(payload["exp"]) + self._leeway_seconds - time.time(),
            client=_client(payload.get(claim) for claim in CLIENT_CLAIMS),
        )


class FixedKey:
    """The issuer's one key, from a PEM file. Raises ConfigurationError."""

    def __init__(self, path: Path) -> None:
        try:
            key = _issuer_key(None, load_pem_public_key(path.expanduser().read_bytes()))
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if key is None:
            raise ConfigurationError(
                f"{path} holds no public key in PEM, Ed25519 or RSA of {RSA_BITS_MIN} bits or more."
            )
        self._key = key

    async def find(self, key_id: str | None) -> IssuerKey | None:  # noqa: ARG002 - there is one
        return self._key


class RemoteKeys:
    """The issuer's keys, as it publishes them at `url`. `fetch` raises Unavailable or OSError."""

    def __init__(
        self, url: str, fetch: Fetch, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._fetch = fetch
        self._clock = clock
        self._keys: Sequence[IssuerKey] = ()
        self._fetched_at = -KEYS_GRACE_SECONDS + clock()
        self._tried_at = -FETCH_PAUSE_SECONDS + clock()
        self._turn = asyncio.Lock()
        self._is_lost = False

    async def find(self, key_id: str | None) -> IssuerKey | None:
        """Raises Unavailable where the issuer has not answered for too long."""
        if self._is_due(key_id):
            async with self._turn:
                if self._is_due(key_id):
                    await self._refresh()
        if self._clock() - self._fetched_at >= KEYS_GRACE_SECONDS:
            raise Unavailable("issuer_unavailable", "The issuer's keys cannot be fetched.")
        return self._match(key_id)

    def _is_due(self, key_id: str | None) -> bool:
        now = self._clock()
        is_fresh = now - self._fetched_at < KEYS_FRESH_SECONDS
        is_pausing = now - self._tried_at < FETCH_PAUSE_SECONDS
        return not is_pausing and not (is_fresh and self._match(key_id) is not None)

    def _match(self, key_id: str | None) -> IssuerKey | None:
        if key_id is None:
            return self._keys[0] if len(self._keys) == 1 else None
        return next((key for key in self._keys if key.id == key_id), None)

    async def _refresh(self) -> None:
        asked_at = self._clock()
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_SECONDS):
                text = await self._fetch(self._url)
        except (Unavailable, OSError) as error:
            self._tell(type(error).__name__)
            return
        finally:
            self._tried_at = self._clock()  # only now: who asks meanwhile waits for the answer
        keys = _parse_key_set(text)
        self._tell(None if keys else "the answer has no key that can be used")
        if keys:
            self._keys, self._fetched_at = keys, asked_at

    def _tell(self, reason: str | None) -> None:
        """Log that keys are not had, and that they are again; never the address or the answer."""
        is_lost, self._is_lost = self._is_lost, reason is not None
        if reason is not None and not is_lost:
            structlog.get_logger().warning("issuer_keys_not_fetched", reason=reason)
        elif reason is None and is_lost:
            structlog.get_logger().info("issuer_keys_fetched")


def _parse_key_set(text: bytes) -> list[IssuerKey]:
    """The usable signature keys of a JWK Set (RFC 7517); none where it is not one."""
    if len(text) > KEY_SET_BYTES_MAX:
        return []
    try:
        found = jwt.PyJWKSet.from_json(text.decode()).keys
    except (jwt.PyJWTError, ValueError, AttributeError):  # the last: JSON, but no object
        return []
    keys = [_issuer_key(key.key_id, key.key) for key in found if key.public_key_use != "enc"]
    return [key for key in keys if key is not None]


def _issuer_key(key_id: str | None, key: object) -> IssuerKey | None:
    match key:
        case RSAPublicKey() if key.key_size >= RSA_BITS_MIN:
            return IssuerKey(key_id, "RS256", key)
        case Ed25519PublicKey():
            return IssuerKey(key_id, "EdDSA", key)
        case _:
            return None


def _text(claim: object, characters_max: int) -> str | None:
    """A claim that can be stored and compared: some printable text, without NUL or surrogates."""
    if not isinstance(claim, str) or not 0 < len(claim) <= characters_max:
        return None
    return claim if claim.isprintable() else None


def _client(claims: Iterable[object]) -> str | None:
    """The name of the program that calls; never what looks like a person's address."""
    names = (_text(claim, CLIENT_CHARACTERS_MAX) for claim in claims)
    return next((name for name in names if name is not None and "@" not in name), None)


def _scopes(claim: object) -> frozenset[str]:
    """OAuth's scopes: one text with spaces, or a list of texts."""
    match claim:
        case str():
            return frozenset(claim.split())
        case list():
            return frozenset(scope for scope in claim if isinstance(scope, str))
        case _:
            return frozenset()
