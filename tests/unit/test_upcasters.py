"""Steps from one version of an event to the next and back, and what happens beyond them."""

from __future__ import annotations

import orjson
import pytest

from service.errors import Corrupt
from service.events import (
    EVENT_TYPES,
    CustomerTagged,
    as_written,
    decode,
    encode,
    written_version,
)
from service.upcasters import (
    DOWNCASTERS,
    UPCASTERS,
    Json,
    downcast,
    is_held_back,
    upcast,
)
from tests.unit.test_golden_events import examples


def renamed(data: dict[str, Json], old: str, new: str) -> dict[str, Json]:
    return {new if name == old else name: value for name, value in data.items()}


UP = {
    ("a", 1): lambda data: renamed(data, "one", "two"),
    ("a", 2): lambda data: {**data, "three": None},
}
DOWN = {("a", 2): lambda data: renamed(data, "two", "one")}


def test_each_version_is_brought_up_step_by_step() -> None:
    assert orjson.loads(upcast("a", 1, 3, '{"one":1}', UP)) == {"two": 1, "three": None}
    assert orjson.loads(upcast("a", 2, 3, '{"two":1}', UP)) == {"two": 1, "three": None}


@pytest.mark.parametrize(("known", "current"), [(4, 3), (0, 3)])
def test_a_version_of_a_newer_release_or_without_a_step_is_never_guessed_at(
    known: int, current: int
) -> None:
    with pytest.raises(Corrupt):
        upcast("a", known, current, "{}", UP)


def test_a_version_that_is_held_back_is_written_as_the_one_before() -> None:
    assert is_held_back("a", 2, DOWN)
    assert not is_held_back("a", 1, DOWN)
    written = downcast("a", 2, '{"two":1}', DOWN)
    assert orjson.loads(written) == {"one": 1}
    assert orjson.loads(upcast("a", 1, 2, written, UP)) == {"two": 1}


def test_what_is_not_held_back_is_written_as_it_is() -> None:
    event = CustomerTagged(tags=("vip",))
    assert (event.type, event.schema_version) not in DOWNCASTERS
    assert written_version(event) == event.schema_version
    assert as_written(event, encode(event)) == encode(event)


def test_every_step_starts_where_a_model_or_another_step_ends() -> None:
    current = {kind.type: kind.schema_version for kind in EVENT_TYPES}
    assert all(1 <= version < current[name] for name, version in UPCASTERS)
    assert all(version == current[name] > 1 for name, version in DOWNCASTERS)
    for name, version in UPCASTERS:
        assert version + 1 == current[name] or (name, version + 1) in UPCASTERS


def test_what_is_held_back_comes_back_as_it_was() -> None:
    for name, version, example in examples():
        event = decode(name, version, orjson.dumps(example["data"]))
        written = as_written(event, encode(event))
        assert decode(name, written_version(event), written) == event
