"""What a record of the orders topic says: an order as it stands now, or why it says nothing; pure.

CloudEvents 1.0 in binary and in structured mode, and plain JSON. Invariants: nothing is coerced,
and no reason ever quotes a value. The digest is taken over what was sent, in one form, so that a
copy that comes again is a repeat, whichever time the record was given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from hashlib import blake2b
from typing import Annotated, Literal, NamedTuple, TypeAlias, get_args

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from service.events import OrderStatus, traceparent_in
from service.kafka import ConsumedRecord

Reason: TypeAlias = Literal[
    "invalid_message", "unknown_tenant", "unknown_customer", "customer_changed", "version_reused"
]
"""Why a message is a dead letter."""
REASONS: tuple[Reason, ...] = get_args(Reason)

DEFAULT_TENANT = "default"
AMOUNT_MAX = 10**14  # minor units: 92,000 such orders of one customer add up to 64 bits
VERSION_MAX = 2**53  # the last integer that every JSON reader holds exactly
ID_CHARACTERS_MAX = 255
DETAIL_FAULTS_MAX = 10
DIGEST_BYTES = 16
STRUCTURED_MODE = b"application/cloudevents+json"

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")  # as access.tenant has it
# Visible ASCII that JSON takes as it stands.
_CE_ID = re.compile(rb"[!#-\[\]-~]{1,128}")
# W3C Trace Context, version 00; later versions begin the same way. All zeros name nothing.
_TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
_RFC_3339 = r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})$"
_RFC_3339_TIME = re.compile(_RFC_3339, re.ASCII)
_NO_TIME = datetime.min.replace(tzinfo=UTC)  # so some languages say none; to the driver: -infinity

_Id: TypeAlias = Annotated[
    str, StringConstraints(min_length=1, max_length=ID_CHARACTERS_MAX, pattern=r"^[^\p{Cc}]*$")
]
_Amount: TypeAlias = Annotated[int, Field(ge=0, le=AMOUNT_MAX)]
_Counter: TypeAlias = Annotated[int, Field(ge=1, le=VERSION_MAX)]
_Time: TypeAlias = Annotated[str, StringConstraints(pattern=_RFC_3339.replace(r"\d", "[0-9]"))]


class OrderMessage(NamedTuple):
    """An order to be recorded. `data` and `meta` are the event's JSON, without line breaks."""

    tenant: str
    order_id: str
    order_version: int
    customer_id: str
    digest: bytes  # of what was sent, but for the tenant
    data: str
    meta: str


class Unusable(NamedTuple):
    """Why a record is a dead letter. `detail` names fields and what is wrong, and no values."""

    reason: Reason
    detail: str


class _Order(BaseModel):
    """The fields of the event's order as they come in, but for the time, which may be missing."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, alias_generator=to_camel)
    order_id: _Id
    order_version: _Counter
    status: OrderStatus
    currency: str
    total: _Amount
    captured: _Amount | None = None
    refunded: _Amount | None = None
    test: bool = False
    customer_id: _Id
    placed_at: _Time | None = None
    # Only ever built from JSON, by alias.
    tenant: str | None = None  # type: ignore[pydantic-alias]


class _Envelope(BaseModel):
    """CloudEvents' structured mode: the attributes that matter here, and the data."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str = ""
    time: str | None = None
    tenant: str | None = None
    traceparent: str | None = None
    data: _Order | None = None
    data_base64: Base64Bytes | None = None


class _Given(NamedTuple):
    """A message with what its envelope says beside; None where that is not said."""

    order: _Order
    id: bytes | None
    time: bytes | None
    tenant: bytes | None
    traceparent: bytes | None


_ORDER = _Order.__pydantic_validator__
_ENVELOPE = _Envelope.__pydantic_validator__
_to_json = _Order.__pydantic_serializer__.to_json
_APART = {"customer_id", "placed_at", "tenant"}


class _Fault(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason)
        self.unusable = Unusable(reason, detail)


def read_message(record: ConsumedRecord) -> OrderMessage | Unusable:
    """The message in a record of the orders topic."""
    try:
        return _message(record, _given(record))
    except ValidationError as error:
        return Unusable("invalid_message", _detail(error))
    except _Fault as fault:
        return fault.unusable


def traceparent_of(message: OrderMessage | Unusable) -> str | None:
    """That of the message, where it came with one and can be used."""
    return traceparent_in(message.meta) if isinstance(message, OrderMessage) else None


def _given(record: ConsumedRecord) -> _Given:
    if record.value is None:
        raise _Fault("invalid_message", "value: missing")
    headers = dict(record.headers)
    kind = headers.get("content-type") or headers.get("Content-Type") or b""
    if kind[: len(STRUCTURED_MODE)].lower() == STRUCTURED_MODE:
        return _structured(record.value, headers)
    return _Given(
        _ORDER.validate_json(record.value),
        headers.get("ce_id"),
        headers.get("ce_time"),
        headers.get("ce_tenant", headers.get("tenant")),
        headers.get("ce_traceparent", headers.get("traceparent")),
    )


def _structured(value: bytes, headers: Mapping[str, bytes]) -> _Given:
    envelope = _ENVELOPE.validate_json(value)
    order = envelope.data
    if order is None:
        if envelope.data_base64 is None:
            raise _Fault("invalid_message", "data: missing")
        order = _ORDER.validate_json(envelope.data_base64)
    return _Given(
        order,
        envelope.id.encode(),
        _encoded(envelope.time),
        _encoded(envelope.tenant) or headers.get("tenant"),
        _encoded(envelope.traceparent) or headers.get("traceparent"),
    )


def _message(record: ConsumedRecord, given: _Given) -> OrderMessage:
    order = given.order
    if order.currency not in _currencies():
        raise _Fault("invalid_message", "currency: unknown_currency")
    content: bytes = _to_json(order, by_alias=True, exclude=_APART)
    placed_at = "" if order.placed_at is None else _time_text(order.placed_at, "placedAt")
    sent = b"%b%b\n%b" % (content, placed_at.encode(), order.customer_id.encode())
    placed_at = placed_at or _default_time(record, given)
    return OrderMessage(
        _tenant(given),
        order.order_id,
        order.order_version,
        order.customer_id,
        blake2b(sent, digest_size=DIGEST_BYTES).digest(),
        f'{{"order":{content[:-1].decode()},"placedAt":"{placed_at}"}}}}',
        _meta(record, given),
    )


def _tenant(given: _Given) -> str:
    if given.tenant is None:
        name = DEFAULT_TENANT if given.order.tenant is None else given.order.tenant
    else:
        name = given.tenant.decode(errors="replace")
    if not _TENANT.fullmatch(name):
        raise _Fault("unknown_tenant", "tenant: no tenant can be called so")
    return name


def _default_time(record: ConsumedRecord, given: _Given) -> str:
    """For an order that does not say when it was placed."""
    if given.time is not None:
        return _time_text(given.time.decode(errors="replace"), "ce_time")
    if record.timestamp_ms < 0:
        raise _Fault("invalid_message", "placedAt: missing")
    try:
        return _shown(datetime.fromtimestamp(record.timestamp_ms / 1_000, UTC))
    except (OverflowError, ValueError, OSError):
        raise _Fault("invalid_message", "timestamp: invalid_time") from None


def _time_text(text: str, field: str) -> str:
    """RFC 3339 in one form: in UTC, in whole milliseconds."""
    try:
        if _RFC_3339_TIME.fullmatch(text):
            time = datetime.fromisoformat(text.upper()).astimezone(UTC)
            if time != _NO_TIME:
                return _shown(time)
    except (OverflowError, ValueError):
        pass  # a thirteenth month, or a year that UTC cannot show
    raise _Fault("invalid_message", f"{field}: invalid_time")


def _shown(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")[:-6] + "Z"


def _meta(record: ConsumedRecord, given: _Given) -> str:
    """As service.events.Meta: the message is named by its own id, or else by its place."""
    if given.id is not None and _CE_ID.fullmatch(given.id):
        request_id = given.id.decode()
    else:
        request_id = f"{record.topic}/{record.partition}/{record.offset}"
    start = f'{{"actor":{{"type":"system","id":"intake"}},"requestId":"{request_id}"'
    if given.traceparent is not None and _TRACEPARENT.fullmatch(given.traceparent):
        return f'{start},"traceparent":"{given.traceparent.decode()}"}}'
    return start + "}"


def _detail(error: ValidationError) -> str:
    """Fields and codes; pydantic's own sentences may quote values."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    named = [
        f"{'.'.join(map(str, fault['loc'])) or 'value'}: {fault['type']}"
        for fault in faults[:DETAIL_FAULTS_MAX]
    ]
    return "; ".join(named)


def _encoded(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


@cache
def _currencies() -> frozenset[str]:
    from pycountry import currencies  # late: it reads its tables

    return frozenset(currency.alpha_3 for currency in currencies)
