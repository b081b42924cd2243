"""What callers type and what is kept of it: e-mail addresses, telephone numbers, texts.

Invariant: what is kept is stable. A value that was answered once passes again unchanged, whatever
way it was typed.
"""

from __future__ import annotations

import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import assume, example, given
from pydantic import TypeAdapter, ValidationError

from service.events import MetadataValue
from service.http.emails import EMAIL_CHARACTERS_MAX, normalized_by_library, normalized_email
from service.http.fields import Metadata, Name, Tag
from service.http.phones import is_phone

PLAIN = st.text(st.sampled_from("aZ09._+-"), min_size=1, max_size=70)
LABELS = st.text(st.sampled_from("aZ09-"), min_size=1, max_size=20)
PLAIN_EMAILS = st.builds(
    lambda local, labels: f"{local}@{'.'.join(labels)}",
    PLAIN,
    st.lists(LABELS, min_size=1, max_size=5),
)
ODD_EMAILS = st.builds(
    lambda local, domain: f"{local}@{domain}",
    st.text(max_size=8),
    st.sampled_from(["example.com", "EXAMPLE.Com", "bücher.example", "xn--bcher-kva.example"]),
)
EMAILS = PLAIN_EMAILS | ODD_EMAILS | st.emails()
DIGITS = st.lists(st.sampled_from("0123456789"), min_size=4, max_size=20)
SEPARATORS = st.sampled_from(["", "", " ", "-", ".", "/", "(", ")", " - "])
NAMES, TAGS, METADATA = TypeAdapter(Name), TypeAdapter(Tag), TypeAdapter(Metadata)
JSON_VALUES: st.SearchStrategy[MetadataValue] = (
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats() | st.text()
)


@given(EMAILS)
@example("a@" + "b" * 63 + ".com")
@example("a" * 64 + "@example.com")
@example("a" * 65 + "@example.com")
@example("jane@example.c")
@example("jane@1.2.3.4")
@example("jane@a--b.example")
def test_the_fast_way_agrees_with_the_library(email: str) -> None:
    assert normalized_email(email) == normalized_by_library(email)


@given(EMAILS)
@example("jane@EXAMPLE.com")
@example("İ@example.com")
def test_the_kept_form_of_an_email_address_is_stable(email: str) -> None:
    kept = normalized_email(email)
    assume(kept is not None)
    assert kept is not None
    assert normalized_email(kept) == kept == kept.lower()
    assert len(kept) <= EMAIL_CHARACTERS_MAX
    assert not kept.isascii() or normalized_email(kept.upper()) == kept


@given(DIGITS, st.data())
def test_digits_with_separators_are_a_telephone_number(
    digits: list[str], data: st.DataObject
) -> None:
    assert is_phone("".join(data.draw(SEPARATORS) + digit for digit in digits))


@given(st.text(max_size=50))
def test_any_text_is_a_telephone_number_or_not(text: str) -> None:
    assert is_phone(text) in (True, False)


@pytest.mark.parametrize("adapter", [NAMES, TAGS], ids=["name", "tag"])
@given(
    text=st.text(max_size=20) | st.text(st.sampled_from(" \t\n\x1c\x85\u00a0\u3000a"), max_size=8)
)
def test_the_kept_form_of_a_text_is_stable(adapter: TypeAdapter[str], text: str) -> None:
    kept = kept_of(adapter, text)
    if kept is not None:
        assert kept_of(adapter, kept) == kept
        assert "\0" not in kept


def kept_of(adapter: TypeAdapter[str], text: str) -> str | None:
    try:
        return adapter.validate_python(text, strict=True)
    except ValidationError:
        return None


@given(st.dictionaries(st.text(max_size=4), JSON_VALUES, max_size=4))
@example({"n": -0.0})
@example({"n": 1e15})
@example({"n": 999999999999999.9})
def test_metadata_is_kept_in_a_form_that_is_stable(
    given_metadata: dict[str, MetadataValue],
) -> None:
    try:
        kept = METADATA.validate_json(orjson.dumps(given_metadata))
    except ValidationError:
        return
    again = METADATA.validate_json(METADATA.dump_json(kept))
    assert METADATA.dump_json(again) == METADATA.dump_json(kept)
