"""How text is compared: examples, and what must hold of any text."""

from __future__ import annotations

import zlib

import hypothesis.strategies as st
import pytest
from hypothesis import given

from service import folding
from service.folding import fold, grams, search_words, sort_key, tag_key

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
# What people's names are made of, and what folds to more or fewer characters than it has.
NAMES = st.text("aAbzZßéÉe\u0301ﬁΣσςİıŁØ李ﷺ😀 -'\x01\x1f", max_size=12)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Jane", "jane"),
        ("Zoë Ångström", "zoe angstrom"),
        ("ZOE\u0308", "zoe"),
        ("Straße", "strasse"),
        ("STRASSE", "strasse"),
        ("ΣΊΣΥΦΟΣ", "σισυφοσ"),
        ("İstanbul", "istanbul"),
        ("Işık Øster-Łoś Ðórr Þór", "isik oster-los dorr thor"),
        ("ÆGIR Œuvre đorđe Ħal Ŧ Ŋ", "aegir oeuvre dorde hal t n"),
        ("ﬁnch", "finch"),
        ("Ⅷ", "viii"),
        ("Ｊａｎｅ", "jane"),
        ("李小龍", "李小龍"),
        ("100%_\\", "100%_\\"),
        ("😀", "😀"),
        ("\u0301", ""),
        ("", ""),
    ],
)
def test_folding_takes_away_case_accents_and_width(text: str, folded: str) -> None:
    assert fold(text) == folded


@given(TEXTS | NAMES)
def test_what_is_folded_stays_as_it_is(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(TEXTS | NAMES)
def test_case_makes_no_difference(text: str) -> None:
    assert fold(text.casefold()) == fold(text)
    assert fold(text.swapcase().casefold()) == fold(text.swapcase())


@given(NAMES, NAMES)
def test_a_part_of_a_text_is_found_in_it(start: str, end: str) -> None:
    assert fold(start) in fold(start + end)
    assert fold(end) in fold(start + end)


@given(st.lists(TEXTS | NAMES, max_size=8))
def test_sort_keys_order_by_the_folded_text_then_by_code_point(texts: list[str]) -> None:
    written = [text.replace("\x01", "") for text in texts]
    assert sorted(written, key=sort_key) == sorted(written, key=lambda text: (fold(text), text))


def test_sort_keys_put_a_shorter_text_before_a_longer_one() -> None:
    names = ["Jane Doe", "jané", "JANE", "jane", "Janet", "jane!"]
    ordered = ["JANE", "jane", "jané", "Jane Doe", "jane!", "Janet"]
    assert sorted(names, key=sort_key) == ordered


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("VIP", "vip", True),
        ("Straße", "STRASSE", True),
        ("café", "cafe", False),
        ("a b", "a  b", False),
    ],
)
def test_tags_differ_in_accents_and_not_in_case(one: str, other: str, same: bool) -> None:
    assert (tag_key(one) == tag_key(other)) is same


def test_search_words_are_the_folded_texts_that_there_are() -> None:
    assert search_words("Zoë", None, "zoe@example.com") == "zoe\nzoe@example.com"
    assert search_words(None, "", None) == ""


@given(st.text("abc李😀", max_size=12), st.data())
def test_the_grams_of_a_part_are_grams_of_the_whole(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    part = text[start:end]
    assert grams(part, "default") <= grams(text, "default")
    assert grams(part, "default") <= grams(search_words("before", text, "after"), "default")


def test_grams_are_runs_of_two_and_three_within_a_line() -> None:
    assert len(grams("abcd", "default")) == 5
    assert grams("ab\ncd", "default") == grams("ab", "default") | grams("cd", "default")
    assert grams("a", "default") == set()
    assert all(-(2**31) <= gram < 2**31 for gram in grams("any text whatsoever", "default"))


def test_another_tenant_has_other_grams() -> None:
    assert not grams("jane doe", "default") & grams("jane doe", "other")


@given(TEXTS | NAMES, st.sampled_from(["default", "other"]))
def test_a_gram_is_the_checksum_of_a_run_with_the_tenants(text: str, tenant: str) -> None:
    """As stored in every read model there is: it may not change without building them anew."""
    seed = zlib.crc32(tenant.encode())
    runs = {
        line[start : start + length]
        for line in text.split("\n")
        for length in (2, 3)
        for start in range(len(line) - length + 1)
    }
    assert grams(text, tenant) == {zlib.crc32(run.encode(), seed) - 2**31 for run in runs}


def test_no_more_runs_are_remembered_than_the_limit_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.folding.RUNS_REMEMBERED_MAX", 3)
    first = grams("abcdef", "of few")
    assert grams("ghijkl", "of few") != first
    assert grams("abcdef", "of few") == first
    assert len(folding._numbers("of few")) == len(first)
