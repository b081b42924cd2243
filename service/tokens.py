"""Who calls: the tokens of the tenants, and the check of what a caller presents.

Invariants: a token's text is shown once and stored nowhere, only its keyed hash; nor is the subject
of a JWT, which may be a person; nothing is let in on knowledge older than RECHECK_SECONDS, so a
revoked or expired token stops in every process within that time. Only while the database cannot be
asked may older knowledge serve, up to GRACE_SECONDS.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol, TypeVar
from weakref import WeakValueDictionary

from service.errors import Fault, Rejected, Unavailable
from service.events import Actor
from service.identifiers import TokenId, new_token_id
from service.postgres import Postgres, RowMaker, load_statements
from service.tenants import Tenants
from service.token_keys import TOKEN_PREFIX, TokenKeys

SCOPES = ("customers:read", "customers:write", "customers:erase", "events:read", "admin")

RECHECK_SECONDS = 2.0
GRACE_SECONDS = 30.0
DATABASE_RETRY_SECONDS = 0.5  # after a failure, before the database is asked again
CACHED_BEARERS_MAX = 10_000
BEARER_CHARACTERS_MAX = 8_192
NAME_CHARACTERS_MAX = 100
LIFETIME_MAX = timedelta(days=36_500)


Row = TypeVar("Row")

SQL = load_statements("service", "tokens.sql")


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling, and what they may do. `currency` is the tenant's."""

    tenant: str
    currency: str
    scopes: frozenset[str]
    actor: Actor


class TokenRow(NamedTuple):
    """A token as listed."""

    id: str
    tenant: str
    name: str | None
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewToken(NamedTuple):
    """`text` is what callers present; nobody can ask for it again."""

    id: TokenId
    text: str


class Tokens:
    """Makes, lists and revokes tokens: for operators."""

    def __init__(self, postgres: Postgres, keys: TokenKeys) -> None:
        self._postgres = postgres
        self._keys = keys

    async def create(
        self,
        tenant: str,
        scopes: Iterable[str],
        *,
        currency: str,
        name: str | None = None,
        expires_in: timedelta | None = None,
    ) -> NewToken:
        """A new token; its tenant is made with `currency` where it is new. Raises Rejected."""
        wanted = sorted(set(scopes), key=SCOPES.index) if set(scopes) <= set(SCOPES) else []
        faults = [*_name_faults(name), *_lifetime_faults(expires_in)]
        if not wanted:
            allowed = ", ".join(SCOPES)
            faults.append(Fault("scopes", "unknown_scope", f"scopes are some of: {allowed}"))
        if faults:
            raise Rejected(faults)
        await Tenants(self._postgres).ensure(tenant, currency)
        token = NewToken(new_token_id(), self._keys.new_text())
        hash_ = self._keys.hash(token.text)
        await self._postgres.execute(
            SQL["create_token"], token.id, tenant, name, wanted, hash_, expires_in
        )
        return token

    async def find(self, tenant: str | None = None) -> list[TokenRow]:
        """One tenant's tokens, or all; the oldest first, revoked and expired ones too."""
        return await self._postgres.fetch(TokenRow, SQL["tokens"], tenant)

    async def revoke(self, id_or_text: str) -> TokenId | None:
        """The token's id; None where there is no such token. Harmless when repeated."""
        return await self._postgres.fetch_one(
            TokenId, SQL["revoke_token"], id_or_text, self._keys.hash(id_or_text)
        )

    async def drop(self, token_id: str) -> None:
        """Remove every trace of a token, for one that `up` made for itself."""
        await self._postgres.execute(SQL["drop_token"], token_id)


class _Found(NamedTuple):
    id: str
    name: str | None
    tenant: str
    currency: str
    scopes: list[str]
    expires_in_seconds: float | None


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified JWT says. `expires_in_seconds` counts from its verification.

    `subject` may be a person's address, so it is stored nowhere; `client` is a program's name.
    """

    tenant: str
    scopes: frozenset[str]
    subject: str
    expires_in_seconds: float
    client: str | None = None


class ClaimsVerifier(Protocol):
    """Checks JWTs: None for what is not to be trusted."""

    async def verify(self, bearer: str) -> Claims | None: ...


class Database(Protocol):
    """What an authenticator asks."""

    async def fetch_one(self, row: RowMaker[Row], sql: str, *arguments: object) -> Row | None: ...


@dataclass(slots=True)
class _Known:
    """What was last found out about a bearer; times by the authenticator's clock."""

    principal: Principal | None
    fresh_until: float
    usable_until: float  # while the database cannot be asked


class Authenticator:
    """Tells who presents a bearer. Safe to call from many tasks at once."""

    def __init__(
        self,
        database: Database,
        keys: TokenKeys,
        *,
        jwt: ClaimsVerifier | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._keys = keys
        self._jwt = jwt
        self._clock = clock
        # By keyed hash, the longest unchecked first. Invariant: at most CACHED_BEARERS_MAX.
        self._known: dict[bytes, _Known] = {}
        self._turns: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._ask_from = clock()  # no question to the database before

    async def authenticate(self, bearer: str) -> Principal | None:
        """None for what is unknown, revoked or expired; Unavailable where nobody can tell now."""
        digest = self._keys.hash(bearer)
        known = self._known.get(digest)
        if known is not None and self._clock() < known.fresh_until:
            return known.principal
        if not self._may_be_known(bearer):
            return None
        # Invariant: one question at a time about one bearer; who waited finds the answer.
        async with self._turns.setdefault(digest, asyncio.Lock()):
            known = self._known.get(digest)
            if known is not None and self._clock() < known.fresh_until:
                return known.principal
            return await self._check(bearer, digest, known)

    def _may_be_known(self, bearer: str) -> bool:
        if len(bearer) > BEARER_CHARACTERS_MAX:
            return False
        if bearer.startswith(TOKEN_PREFIX):
            return self._keys.made(bearer)
        return self._jwt is not None and bearer.count(".") == 2

    async def _check(self, bearer: str, digest: bytes, known: _Known | None) -> Principal | None:
        now = self._clock()
        try:
            found = await self._find(bearer, digest)
        except Unavailable:
            if known is None or known.principal is None or self._clock() >= known.usable_until:
                raise
            return known.principal
        self._known.pop(digest, None)
        principal, expires_in = (None, None) if found is None else found
        if principal is None and not bearer.startswith(TOKEN_PREFIX):
            return None  # not kept: anybody can invent as many JWTs as they like
        end = float("inf") if expires_in is None else now + expires_in
        fresh_until, usable_until = now + RECHECK_SECONDS, now + GRACE_SECONDS
        self._known[digest] = _Known(principal, min(fresh_until, end), min(usable_until, end))
        if len(self._known) > CACHED_BEARERS_MAX:
            del self._known[next(iter(self._known))]
        return principal

    async def _find(self, bearer: str, digest: bytes) -> tuple[Principal, float | None] | None:
        """Who the bearer stands for, and for how many seconds from now; None: nobody."""
        if bearer.startswith(TOKEN_PREFIX):
            found = await self._ask(_Found, SQL["find_token"], digest)
            if found is None:
                return None
            actor = Actor(type="token", id=found.id, name=found.name)
            scopes = frozenset(found.scopes)
            return Principal(found.tenant, found.currency, scopes, actor), found.expires_in_seconds
        claims = await self._jwt.verify(bearer) if self._jwt is not None else None
        if claims is None:
            return None
        currency = await self._ask(str, SQL["find_tenant"], claims.tenant)
        if currency is None:
            return None
        actor = Actor(type="jwt", id=self._keys.subject_id(claims.subject), name=claims.client)
        scopes = claims.scopes.intersection(SCOPES)
        return Principal(claims.tenant, currency, scopes, actor), claims.expires_in_seconds

    async def _ask(self, row: RowMaker[Row], sql: str, argument: object) -> Row | None:
        """A question to the database; while it is down the next ones fail at once for a moment."""
        if self._clock() < self._ask_from:
            raise Unavailable("database_unavailable", "The database cannot be reached.")
        try:
            return await self._database.fetch_one(row, sql, argument)
        except Unavailable as error:
            if error.code != "overloaded":  # a database that is only busy answers the next one
                self._ask_from = self._clock() + DATABASE_RETRY_SECONDS
            raise


def _name_faults(name: str | None) -> list[Fault]:
    if name is None or (0 < len(name) <= NAME_CHARACTERS_MAX and name.isprintable()):
        return []
    detail = f"a token's name is 1 to {NAME_CHARACTERS_MAX} printable characters"
    return [Fault("name", "invalid_name", detail)]


def _lifetime_faults(expires_in: timedelta | None) -> list[Fault]:
    if expires_in is None or timedelta() < expires_in <= LIFETIME_MAX:
        return []
    detail = f"a token expires after a moment and within {LIFETIME_MAX.days} days"
    return [Fault("expires", "invalid_lifetime", detail)]
