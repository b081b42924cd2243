"""From a list request to a finished page, read now.

Invariant: a cursor holds where the page ended, by the sort keys and id that its last row had then:
whatever is inserted meanwhile, the next page neither repeats nor skips a row that stayed in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from service.events import Position
from service.list_request import ListRequest
from service.postgres import Postgres
from service.queries.criteria import Criteria
from service.queries.cursor import Cursors, Place
from service.queries.gram_choice import GramChoice
from service.queries.list_answer import Answer, Listed, body
from service.queries.list_plan import Wanted
from service.queries.list_reader import ListReader, Values
from service.queries.progress import Mark, Progress


class Page(NamedTuple):
    """A list, and the mark at which it was read."""

    mark: Mark
    listed: Listed


class ListPages:
    """Makes pages; keeps none."""

    def __init__(
        self,
        postgres: Postgres,
        progress: Progress,
        cursor_key: bytes,
        statements_at_once_max: int,
    ) -> None:
        self._progress = progress
        self._reader = ListReader(postgres, statements_at_once_max)
        self._gram_choice = GramChoice(postgres)
        self._cursors = Cursors(cursor_key)

    async def read(self, tenant: str, request: ListRequest) -> Page:
        """Raises Rejected `invalid_cursor`, Unavailable."""
        criteria = Criteria.of(tenant, request)
        binding = criteria.binding() + repr(request.sort).encode()
        place = None
        if request.cursor is not None:
            place = self._cursors.open(request.cursor, request.sort, binding)
        if criteria.can_match():
            found = await self._found(criteria, request, place)
        else:
            found = Answer.empty(await self._progress.mark())
        self._progress.saw(found.mark)
        page = place.page if place else request.page
        next_cursor = None
        if len(found.items) > request.display:
            ended = Place(page + 1, found.last_id or "", found.last_keys)
            next_cursor = self._cursors.seal(ended, request.sort, binding)
        finished = body(
            count=found.matches,
            page=page,
            display=request.display,
            next_cursor=next_cursor,
            items=found.items[: request.display],
        )
        return Page(found.mark, Listed(finished, Position(found.mark.position)))

    async def _found(self, criteria: Criteria, request: ListRequest, place: Place | None) -> Answer:
        grams = await self._gram_choice.rarest(criteria.words, criteria.tenant)
        wanted = Wanted(
            criteria=criteria,
            sort=request.sort,
            rows=request.display + 1,
            offset=0 if place else (request.page - 1) * request.display,
            after=tuple(key is not None for key in place.keys) if place else (),
            has_grams=bool(grams),
        )
        return await self._reader.read(wanted, _values(criteria, place, grams))


def _values(criteria: Criteria, place: Place | None, grams: Sequence[int]) -> Values:
    """What the statement's pieces call by name."""
    values = criteria.values()
    if criteria.words:
        values |= {"grams": grams, "patterns": [_pattern(word) for word in criteria.words]}
    if place is not None:
        values["key_id"] = place.id
        values |= {f"key_{number}": key for number, key in enumerate(place.keys, start=1)}
    return values


def _pattern(word: str) -> str:
    """LIKE's pattern for texts that contain the word, literally."""
    escaped = word.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%"
