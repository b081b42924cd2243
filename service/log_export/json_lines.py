"""Events as lines of JSON, each in the form in which `/events` shows it, and with its tenant.

Invariant: `data` is passed on as it was stored, without being parsed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import orjson

from service.documents import timestamp_text
from service.identifiers import event_ids_of
from service.log_export.parts import Part
from service.log_export.rows import CACHED_MAX, Row, actor_of, moment, plain

MILLISECOND_DIGITS = 3


class JsonLines:
    """Writes into one part."""

    def __init__(self, part: Part, epoch: str) -> None:
        self._part = part
        self._epoch = epoch

    def write(self, rows: list[Row]) -> None:
        self._part.write("".join(_lines(rows, self._epoch)).encode())

    def end(self) -> None:
        """Nothing is held back."""


def _lines(rows: list[Row], epoch: str) -> Iterator[str]:
    start = f',"epoch":{_quoted(epoch)},"id":"'
    ids = event_ids_of([row[1] for row in rows])
    for (position, _, tenant, customer_id, version, kind, schema, time, actor,
         data, is_forgotten, is_damaged), event_id in zip(rows, ids, strict=True):  # fmt: skip
        # An identifier of Python's is the same in JSON, and in COPY's text.
        who = f'"{customer_id}"' if customer_id.isidentifier() else _quoted(customer_id)
        marks = ',"forgotten":true' if is_forgotten else ""
        if is_damaged:
            marks += ',"damaged":true'
        yield (
            f'{{"position":{position}{start}{event_id}","type":"{kind}.v{schema}"'
            f',"tenant":{_quoted(tenant)},"customerId":{who},"version":{version}'
            f',"time":"{_time(time)}","actor":{_actor(actor)},"data":{data}{marks}}}\n'
        )


@lru_cache(maxsize=CACHED_MAX)
def _quoted(text: str) -> str:
    return orjson.dumps(plain(text)).decode()


def _time(milliseconds: str) -> str:
    """As `timestamp_text` has it."""
    whole, part = milliseconds[:-MILLISECOND_DIGITS], milliseconds[-MILLISECOND_DIGITS:]
    if not whole or whole[0] == "-":
        return timestamp_text(moment(milliseconds))
    return f"{_second(whole)}.{part}Z"


@lru_cache(maxsize=CACHED_MAX)
def _second(whole: str) -> str:
    return timestamp_text(moment(f"{whole}000"))[: -len(".000Z")]


@lru_cache(maxsize=CACHED_MAX)
def _actor(text: str) -> str:
    return orjson.dumps(actor_of(text)._asdict()).decode()
