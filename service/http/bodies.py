"""Request bodies: from the socket to a validated model.

Invariants: no more than BODY_BYTES_MAX is ever kept of a body, whatever its headers announce; a
body is parsed once, from bytes; what cannot be stored (NUL, half of a surrogate pair) is a fault.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TypeAlias

import orjson
from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11
from pydantic import BaseModel, ValidationError

from service.errors import Fault
from service.http.faults import body_faults
from service.http.problems import Refused
from service.http.slots import Held

BODY_BYTES_MAX = 256 * 1024
BODY_TIMEOUT_SECONDS = 20.0  # from the head of a request to the end of its body

Validate: TypeAlias = Callable[[bytes], BaseModel]

# Every escape of a JSON string from left to right: a pair of surrogates, half of one, any other.
_ESCAPES = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    rb"|\\."
)


def check_expectation(request: web.BaseRequest) -> None:
    """The only expectation that this server meets is to be asked for the body."""
    if request.headers[hdrs.EXPECT].lower() != "100-continue":
        raise Refused("expectation_failed")


async def read_body(request: web.BaseRequest, media_types: tuple[str, ...], held: Held) -> bytes:
    """The whole body, which counts as held from its first byte on. Raises Refused."""
    headers = request.headers
    if not request.can_read_body:
        raise Refused("malformed_json", "A JSON body is expected, and there is none.")
    media_type = headers.get(hdrs.CONTENT_TYPE, "")
    if media_type not in media_types and not _is_accepted(media_type, media_types):
        raise Refused("unsupported_media_type", allowed=media_types)
    encodings = headers.getall(hdrs.CONTENT_ENCODING, ())
    if any(each.lower() != "identity" for each in encodings):
        raise Refused("unsupported_content_encoding", headers={hdrs.ACCEPT_ENCODING: "identity"})
    _check_size(request.content_length or 0)
    if request.content.is_eof():  # it came together with the head
        body = request.content.read_nowait()
        _check_size(len(body))
        held.add(len(body))
        return body
    if hdrs.EXPECT in headers:
        await _invite(request)
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            return await _read_slowly(request, held)
    except TimeoutError:
        raise Refused("request_timeout") from None


def _is_accepted(given: str, media_types: tuple[str, ...]) -> bool:
    media_type, *parameters = (part.strip().lower() for part in given.split(";"))
    charsets = [part[8:].strip('"') for part in parameters if part.startswith("charset=")]
    return media_type in media_types and all(name in ("utf-8", "utf8") for name in charsets)


async def _invite(request: web.BaseRequest) -> None:
    """The client waits to be asked for its body (`Expect: 100-continue`)."""
    if request.version == HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun


async def _read_slowly(request: web.BaseRequest, held: Held) -> bytes:
    body = bytearray()
    while chunk := await request.content.readany():
        body += chunk
        _check_size(len(body))
        held.add(len(chunk))
    return bytes(body)


def _check_size(byte_count: int) -> None:
    if byte_count > BODY_BYTES_MAX:
        raise Refused("body_too_large", f"At most {BODY_BYTES_MAX} bytes are allowed.")


def validated(validate: Validate, body: bytes) -> BaseModel:
    """The body as its model. Raises Refused with all its faults."""
    # The models' parser takes these numbers; RFC 8259 does not.
    if (b"NaN" in body or b"Infinity" in body) and not _is_json(body):
        raise Refused("malformed_json", "The body is not valid JSON in UTF-8.")
    try:
        return validate(body)
    except ValidationError as error:
        raise _refusal(validate, body, error) from None


def _is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


def _refusal(validate: Validate, body: bytes, error: ValidationError) -> Refused:
    problem = _syntax_problem(error)
    if problem is None:
        return Refused("validation_failed", faults=body_faults(error))
    if problem.startswith("number out of range"):
        fault = Fault("", "out_of_range", "A number is outside of what 64 bits hold.")
        return Refused("validation_failed", faults=[fault])
    # Half a surrogate pair is grammatical JSON but no text: as a NUL it is a fault of its field.
    replaced = _ESCAPES.sub(lambda found: rb"\u0000" if found[1] else found[0], body)
    if replaced == body:
        return Refused("malformed_json", "The body is not valid JSON in UTF-8.")
    try:
        validate(replaced)
    except ValidationError as other:
        if _syntax_problem(other) is None:
            return Refused("validation_failed", faults=body_faults(other))
        return Refused("malformed_json", "The body is not valid JSON in UTF-8.")
    fault = Fault("", "invalid_characters", "There is half of a surrogate pair.")
    return Refused("validation_failed", faults=[fault])


def _syntax_problem(error: ValidationError) -> str | None:
    """The parser's complaint, where it is not about a field but about the JSON itself."""
    first = error.errors(include_url=False)[0]
    return str(first["ctx"]["error"]) if first["type"] == "json_invalid" else None
