"""How a time looks outside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import hypothesis.strategies as st
from hypothesis import given

from service.documents import timestamp_text

MIDDLE = datetime(5000, 1, 1, tzinfo=UTC)
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
AGES = st.timedeltas(timedelta(days=-365 * 4_990), timedelta(days=365 * 4_990))
TIMES = st.builds(lambda age, zone: (MIDDLE + age).astimezone(zone), AGES, ZONES | st.just(UTC))


@given(TIMES)
def test_a_time_is_shown_in_utc_and_in_whole_milliseconds(time: datetime) -> None:
    shown = time.astimezone(UTC).isoformat(timespec="milliseconds")
    assert timestamp_text(time) == shown.removesuffix("+00:00") + "Z"


def test_milliseconds_are_always_shown() -> None:
    assert timestamp_text(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000Z"
    late = datetime(2026, 1, 1, 23, 59, 59, 999_999, timezone(timedelta(hours=-1)))
    assert timestamp_text(late) == "2026-01-02T00:59:59.999Z"
