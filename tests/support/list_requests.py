"""List requests by chance: any filters, sorts, pages, about the customers that there are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from random import Random

from service.list_request import SORT_FIELDS, ListRequest, SortKey
from tests.support.list_customers import MILLISECOND, TAGS
from tests.support.read_model_seed import SeededCustomer

DISPLAYS = (1, 2, 3, 7, 20, 100)
FILTER_SHARE = 0.16  # of requests have a certain filter, so that most have one or two
PLACES = (UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-5, minutes=-30)))


class Requests:
    """An endless supply, the same for the same seed."""

    def __init__(self, customers: Sequence[SeededCustomer], *, seed: int) -> None:
        self._customers = customers
        self._choose = Random(seed)

    def next(self, *, page_max: int = 6, filter_share: float = FILTER_SHARE) -> ListRequest:
        choose = self._choose

        def is_filtered() -> bool:
            return choose.random() < filter_share

        since = self._time() if is_filtered() else None
        is_range = since is not None and choose.random() < 0.4

        return ListRequest(
            page=choose.randrange(1, page_max + 1) if choose.random() < 0.6 else 1,
            display=choose.choice(DISPLAYS),
            sort=self._sort(),
            q=self._search() if is_filtered() else None,
            tags=self._tags() if is_filtered() else (),
            since=since,
            until=self._time() if is_range or is_filtered() else None,
            updated_since=self._time() if is_filtered() else None,
            active=choose.random() < 0.5 if is_filtered() else None,
            email=self._email() if choose.random() < filter_share / 4 else None,
            min_spent=self._anybody().total_spent if is_filtered() else None,
            max_spent=self._anybody().total_spent if is_filtered() else None,
            min_orders=self._anybody().order_count if is_filtered() else None,
            max_orders=self._anybody().order_count if is_filtered() else None,
        )

    def _anybody(self) -> SeededCustomer:
        return self._choose.choice(self._customers)

    def _sort(self) -> tuple[SortKey, ...]:
        if self._choose.random() < 0.25:
            return (SortKey("createdAt", self._choose.random() < 0.7),)
        number = self._choose.choice((1, 1, 1, 2, 3))
        fields = self._choose.sample(SORT_FIELDS, number)
        return tuple(SortKey(field, self._choose.random() < 0.5) for field in fields)

    def _search(self) -> str | None:
        """Parts of one customer's texts, typed another way; or what nobody may have."""
        choose, anybody = self._choose, self._anybody()
        words = []
        for _ in range(choose.choice((1, 1, 2, 3))):
            text = choose.choice((anybody.first_name, anybody.last_name, anybody.email)) or "jane"
            start = choose.randrange(len(text))
            words.append(text[start : start + choose.randrange(1, 9)])
        if choose.random() < 0.15:
            words = [choose.choice(("%", "_", "\\", "zzz", "\u0301", "jane\x01", "\ud800"))]
        text = " ".join(words)
        return choose.choice((text, text.upper(), text.casefold())).strip() or None

    def _tags(self) -> tuple[str, ...]:
        known = [*TAGS, "rare", *self._anybody().tags]
        tags = self._choose.sample(known, self._choose.choice((1, 1, 1, 2, 3)))
        return tuple(tag.upper() if self._choose.random() < 0.3 else tag for tag in tags)

    def _time(self) -> datetime:
        anybody = self._anybody()
        time = self._choose.choice((anybody.created_at, anybody.updated_at))
        moved = time + self._choose.choice((-1, 0, 0, 1)) * MILLISECOND
        return moved.astimezone(self._choose.choice(PLACES))

    def _email(self) -> str:
        return self._choose.choice((self._anybody().email, "nobody@example.com", "jane", "\ud800"))
