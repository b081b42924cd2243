"""Query parameters: what each accepts, and how a query becomes a ListRequest.

Invariant: a parameter is never coerced or dropped: unknown, repeated or malformed ones are faults,
all at once. A single-valued parameter occurs at most once.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from service.http.emails import EMAIL_CHARACTERS_MAX, normalized_email
from service.http.fields import TAG_CHARACTERS_MAX, text
from service.list_request import (
    CURSOR_CHARACTERS_MAX,
    DISPLAY_DEFAULT,
    DISPLAY_MAX,
    PAGE_DEFAULT,
    SEARCH_CHARACTERS_MAX,
    SORT_DEFAULT,
    SORT_FIELDS,
    TAG_FILTERS_MAX,
    ListRequest,
    SortKey,
)

INTEGER_MAX = 2**63 - 1  # what the stores count in
PAGE_MAX = 2**53 - 1  # the last integer that every JSON reader holds exactly

_DIGITS = re.compile(r"[0-9]{1,20}")
# RFC 3339, where the offset's + may have become a space in the query; seconds may be left out.
_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[Tt](\d{2}:\d{2}(?::\d{2})?)(\.\d{1,9})?([Zz]|[ +-]\d{2}:\d{2}))?",
    re.ASCII,
)
_KEY = f"({'|'.join(SORT_FIELDS)})(:(asc|desc))?"
_SORT_PATTERN = f"^{_KEY}(,{_KEY})*$"


def whole(minimum: int, maximum: int) -> PlainValidator:
    """Digits only: no sign, no blank, no underscore, no other script's digits."""

    def check(value: str) -> int:
        if not _DIGITS.fullmatch(value):
            raise PydanticCustomError("not_an_integer", "A whole number in digits is expected.")
        if not minimum <= int(value) <= maximum:
            raise PydanticCustomError("out_of_range", f"Expected {minimum} to {maximum}.")
        return int(value)

    limits = WithJsonSchema({"type": "integer", "minimum": minimum, "maximum": maximum})
    return PlainValidator(check, json_schema_input_type=Annotated[int, limits])


def _time(value: str) -> datetime:
    """A date alone is its beginning in UTC."""
    match = _TIME.fullmatch(value)
    if match is not None:
        day, time, fraction, offset = match.groups()
        text = f"{day}T{time or '00:00'}{(fraction or '')[:7]}{offset or 'Z'}"
        try:
            return datetime.fromisoformat(text.upper().replace(" ", "+")).astimezone(UTC)
        except (ValueError, OverflowError):
            pass  # a thirteenth month, or a year that UTC cannot show
    raise PydanticCustomError(
        "invalid_time", "A date or an RFC 3339 time is expected, as in 2024-03-10T08:00:00Z."
    )


def _boolean(value: str) -> bool:
    if value not in ("true", "false"):
        raise PydanticCustomError("not_a_boolean", "Either true or false is expected.")
    return value == "true"


def _sort(value: str) -> tuple[SortKey, ...]:
    keys = tuple(_sort_key(part) for part in value.split(","))
    if len({key.field for key in keys}) < len(keys):
        raise PydanticCustomError("repeated_sort_field", "A field is named more than once.")
    return keys


def _sort_key(text: str) -> SortKey:
    """A field alone is ascending."""
    name, colon, direction = text.partition(":")
    for field in SORT_FIELDS:
        if field == name and (direction in ("asc", "desc") or not colon):
            return SortKey(field, direction == "desc")
    raise PydanticCustomError(
        "unknown_sort", f"Expected FIELD:asc or FIELD:desc with FIELD of {', '.join(SORT_FIELDS)}."
    )


def _email(value: str) -> str:
    """In the stored form; what is no address is looked for as it stands, and is not found."""
    return normalized_email(value) or value.lower()


def _cursor(value: str) -> str:
    if not (value.isascii() and value.isprintable() and 0 < len(value) <= CURSOR_CHARACTERS_MAX):
        raise PydanticCustomError("invalid_cursor", "This is not a cursor.")
    return value


Search: TypeAlias = Annotated[str, text(SEARCH_CHARACTERS_MAX)]
Time: TypeAlias = Annotated[
    datetime,
    PlainValidator(_time),
    WithJsonSchema({"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}]}),
]
Flag: TypeAlias = Annotated[bool, PlainValidator(_boolean), WithJsonSchema({"type": "boolean"})]
Count: TypeAlias = Annotated[int, whole(0, INTEGER_MAX)]
TagFilter: TypeAlias = Annotated[str, text(TAG_CHARACTERS_MAX, is_required=True)]
ExactEmail: TypeAlias = Annotated[str, text(EMAIL_CHARACTERS_MAX), AfterValidator(_email)]
Cursor: TypeAlias = Annotated[str, AfterValidator(_cursor)]
Sort: TypeAlias = Annotated[
    tuple[SortKey, ...],
    PlainValidator(_sort),
    WithJsonSchema({"type": "string", "pattern": _SORT_PATTERN}),
]


class NoQuery(BaseModel):
    """A route without query parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ListQuery(BaseModel):
    """The customer list's parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    page: Annotated[int, whole(1, PAGE_MAX)] = Field(
        default=PAGE_DEFAULT, description="Which page, from 1. Not together with `cursor`."
    )
    display: Annotated[int, whole(1, DISPLAY_MAX)] = Field(
        default=DISPLAY_DEFAULT, description="Customers on a page."
    )
    sort: Sort = Field(
        default=SORT_DEFAULT,
        json_schema_extra={"default": "createdAt:desc"},
        description="`field:asc` or `field:desc`, several by comma. What has no value comes last.",
        examples=["totalSpent:desc"],
    )
    q: Search | None = Field(
        default=None,
        description="Words, each a part of first name, last name or e-mail address; "
        "case and accents do not matter.",
    )
    tag: Annotated[tuple[TagFilter, ...], Field(max_length=TAG_FILTERS_MAX)] = Field(
        default=(), description="Only customers with this tag; repeated: with all of them."
    )
    since: Time | None = Field(default=None, description="Created after this date or time.")
    until: Time | None = Field(default=None, description="Created before this date or time.")
    updated_since: Time | None = Field(
        default=None, alias="updatedSince", description="Updated after this."
    )
    active: Flag | None = Field(default=None, description="Only active, or only inactive ones.")
    email: ExactEmail | None = Field(default=None, description="Exactly this e-mail address.")
    min_spent: Count | None = Field(
        default=None, alias="minSpent", description="`totalSpent` at least this."
    )
    max_spent: Count | None = Field(
        default=None, alias="maxSpent", description="`totalSpent` at most this."
    )
    min_orders: Count | None = Field(
        default=None, alias="minOrders", description="`orderCount` at least this."
    )
    max_orders: Count | None = Field(
        default=None, alias="maxOrders", description="`orderCount` at most this."
    )
    cursor: Cursor | None = Field(
        default=None, description="`nextCursor` of the answer before, with the same filter and sort"
    )
    min_position: Count | None = Field(
        default=None,
        alias="minPosition",
        description="Wait until the list shows this `Log-Position`.",
    )

    @model_validator(mode="after")
    def _page_or_cursor(self) -> Self:
        if {"page", "cursor"} <= self.model_fields_set:
            raise PydanticCustomError("cursor_excludes_page", "Give either page or cursor.")
        return self

    def request(self) -> ListRequest:
        return ListRequest(
            page=self.page,
            display=self.display,
            sort=self.sort,
            q=self.q or None,
            tags=self.tag,
            since=self.since,
            until=self.until,
            updated_since=self.updated_since,
            active=self.active,
            email=self.email,
            min_spent=self.min_spent,
            max_spent=self.max_spent,
            min_orders=self.min_orders,
            max_orders=self.max_orders,
            cursor=self.cursor,
            min_position=self.min_position,
        )


class CustomerQuery(BaseModel):
    """Which moment of a customer is asked for; neither: the present."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: Time | None = Field(
        default=None, description="As it was at this date or time. Not together with `version`."
    )
    version: Annotated[int, whole(1, INTEGER_MAX)] | None = Field(
        default=None, description="As it was at this version."
    )

    @model_validator(mode="after")
    def _at_or_version(self) -> Self:
        if {"at", "version"} <= self.model_fields_set:
            raise PydanticCustomError("at_excludes_version", "Give either at or version.")
        return self


class EventsQuery(BaseModel):
    """The parameters of a customer's events."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: Count = Field(default=0, description="Only what came after this version.")
    display: Annotated[int, whole(1, DISPLAY_MAX)] = Field(
        default=DISPLAY_DEFAULT, description="Events on a page."
    )
    cursor: Cursor | None = Field(
        default=None,
        description="`nextCursor` of the answer before, of the same customer. Not together with "
        "`after`.",
    )

    @model_validator(mode="after")
    def _after_or_cursor(self) -> Self:
        if {"after", "cursor"} <= self.model_fields_set:
            raise PydanticCustomError("cursor_excludes_after", "Give either cursor or after.")
        return self


class OrdersQuery(BaseModel):
    """The parameters of a customer's orders."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    display: Annotated[int, whole(1, DISPLAY_MAX)] = Field(
        default=DISPLAY_DEFAULT, description="Orders on a page."
    )
    cursor: Cursor | None = Field(
        default=None, description="`nextCursor` of the answer before, of the same customer."
    )
    min_position: Count | None = Field(
        default=None,
        alias="minPosition",
        description="Wait until the read model shows this `Log-Position`.",
    )
