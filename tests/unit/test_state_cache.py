"""States in memory: bounded, and whoever is busy stays."""

from __future__ import annotations

import pytest

from service import state_cache
from service.customer import Customer, evolve
from service.events import CustomerCreated, CustomerDeleted, CustomerTagged
from service.identifiers import CustomerId
from service.state_cache import StateCache
from tests.support.histories import recorded

HEAVY_BYTES = 60_000


def a_customer(name: str, *, tag_bytes: int = 0) -> Customer:
    events = [CustomerCreated(email=f"{name}@example.com"), CustomerTagged(tags=("x" * tag_bytes,))]
    customer = None
    for each in recorded(events, customer_id=name):
        customer = evolve(customer, each)
    assert customer is not None
    return customer


def kept(cache: StateCache, names: str) -> str:
    return "".join(name for name in names if CustomerId(name) in cache._kept)


def a_cache(names: str) -> StateCache:
    cache = StateCache()
    for name in names:
        cache.keep(a_customer(name))
    return cache


def test_who_was_used_longest_ago_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_cache, "CACHED_CUSTOMERS_MAX", 3)
    cache = a_cache("abc")
    assert cache.get(CustomerId("a")) is not None
    cache.keep(a_customer("d"))
    assert kept(cache, "abcd") == "acd"
    cache.keep(a_customer("c"))
    cache.keep(a_customer("e"))
    assert kept(cache, "abcde") == "cde"


def test_one_that_is_too_heavy_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_cache, "CACHED_BYTES_MAX", 50_000)
    cache = a_cache("abc")
    cache.keep(a_customer("d", tag_bytes=HEAVY_BYTES))
    assert kept(cache, "abcd") == "abc"


def test_one_that_has_become_too_heavy_is_not_kept_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(state_cache, "CACHED_BYTES_MAX", 50_000)
    cache = a_cache("abc")
    cache.keep(a_customer("b", tag_bytes=HEAVY_BYTES))
    assert kept(cache, "abc") == "ac"
    assert cache._bytes == sum(weight for _, weight in cache._kept.values())


def test_who_is_deleted_goes() -> None:
    cache = a_cache("ab")
    customer = cache.get(CustomerId("a"))
    for each in recorded([CustomerDeleted()], after=customer, customer_id="a"):
        customer = evolve(customer, each)
    assert customer is not None
    cache.keep(customer)
    assert kept(cache, "ab") == "b"
