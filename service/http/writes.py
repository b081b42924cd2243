"""Carrying out a command for a call, and what every answer to a write says.

Invariant: the answer to a repeat of a key is made from the same state and status as the first.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Protocol

from aiohttp import hdrs, web

from service.command_handler import Request, Written
from service.customer import Command
from service.event_log import Key
from service.events import Meta
from service.http.call import Call, empty_response, json_response
from service.http.conditions import expected_versions, idempotency_key
from service.http.correlation import traceparent_of
from service.http.headers import ETAG, IDEMPOTENT_REPLAYED, LOG_EPOCH, LOG_POSITION, etag
from service.http.request_spans import own_traceparent
from service.identifiers import AddressId, CustomerId

FINGERPRINT_BYTES = 16
KEY_BYTES = 16


class Commands(Protocol):
    async def handle(self, request: Request) -> Written:
        """Carry out a command; see CommandHandler."""


class Writes:
    """Keys, and what was asked under them, may tell about a person: only digests of them are
    stored, which nobody can try values against without `digest_key`.
    """

    def __init__(self, commands: Commands, digest_key: bytes, *, is_traced: bool = False) -> None:
        self._commands = commands
        self._traceparent_of = own_traceparent if is_traced else traceparent_of
        # Copied for every use, which is cheaper than taking up the key anew.
        self._key_digest = blake2b(digest_size=KEY_BYTES, key=digest_key)
        self._fingerprint = blake2b(digest_size=FINGERPRINT_BYTES, key=digest_key)

    async def customer(
        self, call: Call, customer_id: CustomerId, command: Command, *, status: int = 200
    ) -> web.Response:
        """Answers the customer; with 201, says where it is found."""
        written = await self._carry_out(call, customer_id, command, status)
        customer = written.customer
        headers = self._headers(call, written)
        if status == 201:
            headers[hdrs.LOCATION] = f"{call.prefix}/user/{customer.id}"
        body = customer.document(call.principal.currency).json_bytes()
        return json_response(written.status or status, body, headers)

    async def address(
        self, call: Call, command: Command, address_id: AddressId, *, status: int = 200
    ) -> web.Response:
        """Answers the address; with 201, says where it is found."""
        written = await self._carry_out(call, call.customer_id, command, status, address_id)
        address = written.customer.address(AddressId(written.subject or address_id))
        headers = self._headers(call, written)
        if status == 201:
            place = f"/user/{written.customer.id}/address/{address.id}"
            headers[hdrs.LOCATION] = call.prefix + place
        body = address.__pydantic_serializer__.to_json(address, by_alias=True)
        return json_response(written.status or status, body, headers)

    async def nothing(self, call: Call, command: Command) -> web.Response:
        written = await self._carry_out(call, call.customer_id, command, 204)
        return empty_response(204, self._headers(call, written))

    async def _carry_out(
        self,
        call: Call,
        customer_id: CustomerId,
        command: Command,
        status: int,
        subject: str | None = None,
    ) -> Written:
        headers = call.request.headers
        key = idempotency_key(headers)
        meta = Meta(
            actor=call.principal.actor,
            request_id=call.request_id,
            traceparent=self._traceparent_of(call.request),
        )
        return await self._commands.handle(
            Request(
                tenant=call.principal.tenant,
                customer_id=customer_id,
                command=command,
                meta=meta,
                expected_versions=expected_versions(headers),
                key=None if key is None else self._key(call, key, status, subject),
            )
        )

    def _key(self, call: Call, key: str, status: int, subject: str | None) -> Key:
        name = self._key_digest.copy()
        name.update(key.encode())
        return Key(name.hexdigest(), self._fingerprint_of(call), status, subject)

    def _fingerprint_of(self, call: Call) -> bytes:
        """The same for the same request, under /v1 or not: method, route, its parts, body."""
        digest = self._fingerprint.copy()
        for text in (call.route.method, call.route.path, *call.parts):
            digest.update(text.encode(errors="surrogateescape") + b"\0")
        digest.update(call.body_bytes)
        return digest.digest()

    def _headers(self, call: Call, written: Written) -> dict[str, str]:
        headers: dict[str, str] = {
            ETAG: etag(written.customer.version),
            LOG_POSITION: str(written.position),
            LOG_EPOCH: call.epoch,
        }
        if written.is_replayed:
            headers[IDEMPOTENT_REPLAYED] = "true"
        return headers
