"""Sealing: what is personal goes under the customer's key, opens in its own place, and no other."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest
from typing_extensions import override

from service.errors import ConfigurationError, Corrupt, Unavailable
from service.events import EVENT_TYPES, Event, decode
from service.identifiers import CustomerId
from service.master_key import MasterKey, WrappingKey
from service.master_key.key import parse
from service.vault import CustomerKey, Opener, Vault, blanked, is_personal, place
from service.vault.vault import KEYS_REMEMBERED_MAX
from tests.support.vaults import KEY
from tests.unit.test_golden_events import GOLDEN

JANE, JOE = CustomerId("cust_jane"), CustomerId("cust_joe")
PERSONAL_FIELDS = frozenset(
    [
        "email",
        "firstName",
        "lastName",
        "phone",
        "metadata",
        "label",
        "line1",
        "city",
        "state",
        "postalCode",
    ]
)


def texts(value: object) -> Iterator[str]:
    """Every text in JSON that stands under a personal field."""
    if isinstance(value, dict):
        for name, held in value.items():
            if name in PERSONAL_FIELDS:
                yield orjson.dumps(held).decode()
            else:
                yield from texts(held)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.type)
def test_what_is_left_of_an_event_shows_nobody_and_still_decodes(kind: type[Event]) -> None:
    path = GOLDEN / f"{kind.type}.v{kind.schema_version}.json"
    for example in orjson.loads(path.read_bytes())["examples"]:
        data = example["data"]
        blank = blanked(kind.type, orjson.dumps(data).decode())
        assert (blank is None) == (not is_personal(kind.type))
        if blank is None:
            assert list(texts(data)) == []
        else:
            assert set(texts(orjson.loads(blank))) <= {'""', "null", "{}"}
            assert orjson.loads(blank).keys() == data.keys()
            decode(kind.type, kind.schema_version, blank)


def test_what_is_sealed_opens_in_its_own_place_only() -> None:
    key = CustomerKey.new()
    here = place(JANE, "customer.created", 1, 1)
    sealed = key.seal(b"Jane", here)
    assert b"Jane" not in sealed
    assert key.seal(b"Jane", here) != sealed
    assert key.open(sealed, here) == b"Jane"
    for there in (
        place(JOE, "customer.created", 1, 1),
        place(JANE, "customer.updated", 1, 1),
        place(JANE, "customer.created", 2, 1),
        place(JANE, "customer.created", 1, 2),
    ):
        with pytest.raises(Corrupt, match="damaged, or its key is another"):
            key.open(sealed, there)


@pytest.mark.parametrize("length", [0, 1, 12, 20, -1])
def test_what_is_cut_off_does_not_open(length: int) -> None:
    key, here = CustomerKey.new(), place(JANE, "customer.created", 1, 1)
    sealed = key.seal(b"Jane", here)
    with pytest.raises(Corrupt, match="damaged"):
        key.open(sealed[:length], here)
    wrapped = Vault(KEY).wrap(JANE, key)
    with pytest.raises(Corrupt, match="the stored key of cust_jane is damaged"):
        Vault(KEY).unwrap(JANE, wrapped[:length])


def test_a_wrapped_key_is_one_customers() -> None:
    vault = Vault(KEY)
    key = CustomerKey.new()
    wrapped = vault.wrap(JANE, key)
    assert key.secret not in wrapped
    assert vault.unwrap(JANE, wrapped).secret == key.secret
    with pytest.raises(Corrupt, match="the stored key of cust_joe is damaged"):
        vault.unwrap(JOE, wrapped)


class Provider:
    """A key management service, as one would stand behind this: it tells a key when asked."""

    def __init__(self, key: MasterKey) -> None:
        self.key = key

    def read(self) -> MasterKey:
        return self.key

    def create(self) -> MasterKey:
        raise NotImplementedError

    def replace(self, key: MasterKey) -> None:
        self.key = key


def test_a_process_takes_up_a_rotated_key_when_it_meets_one() -> None:
    old, new = KEY.wrapping[0], WrappingKey(b"n" * 32)
    provider = Provider(KEY)
    here, there = Vault(KEY, provider), Vault(KEY.with_wrapping(new, old))
    key = CustomerKey.new()
    wrapped = there.wrap(JANE, key)
    with pytest.raises(Unavailable, match="does not have"):
        here.unwrap(JANE, wrapped)
    provider.replace(KEY.with_wrapping(new, old))
    assert here.unwrap(JANE, wrapped).secret == key.secret
    assert here.wrapping_id == new.id
    assert here.unwrap(JANE, Vault(KEY).wrap(JANE, key)).secret == key.secret


def test_what_was_read_before_a_rotation_ended_opens_after_it() -> None:
    """A page of the log may hold keys wrapped by both, and the file loses the old one meanwhile."""
    new = WrappingKey.new()
    provider = Provider(KEY.with_wrapping(new))
    here, there = Vault(KEY, provider), Vault(provider.key)
    key = CustomerKey.new()
    page = [there.wrap(JANE, key), Vault(KEY).wrap(JANE, key)] * 2
    assert {here.unwrap(JANE, wrapped).secret for wrapped in page} == {key.secret}
    with pytest.raises(Unavailable, match="does not have"):
        here.unwrap(JANE, Vault(KEY.with_wrapping(WrappingKey.new())).wrap(JANE, key))
    assert here.unwrap(JANE, page[1]).secret == key.secret


def test_a_process_wraps_by_the_key_that_the_database_takes() -> None:
    """Which is the old one still where a rotation is prepared, and the new one after it."""
    (old,), new = KEY.wrapping, WrappingKey.new()
    vault = Vault(KEY.with_wrapping(new, old))
    assert vault.wrapping_id == new.id
    for each in (old, new, new):
        vault.wrap_by(each.id)
        assert vault.wrap(JANE, CustomerKey.new()).startswith(each.id)
    with pytest.raises(Unavailable, match="does not have"):
        vault.wrap_by(WrappingKey.new().id)
    assert vault.wrapping_id == new.id


class BrokenProvider(Provider):
    @override
    def read(self) -> MasterKey:
        raise ConfigurationError("The master key in here is damaged.")


def test_a_master_key_that_cannot_be_read_in_a_rotation_is_outdated() -> None:
    """An operator's business, and no fault of this program: 503, and right again when mended."""
    new = WrappingKey.new()
    here, there = Vault(KEY, BrokenProvider(KEY)), Vault(KEY.with_wrapping(new))
    wrapped = there.wrap(JANE, CustomerKey.new())
    for meet in (lambda: here.unwrap(JANE, wrapped), lambda: here.wrap_by(new.id)):
        with pytest.raises(Unavailable) as raised:
            meet()
        assert raised.value.code == "master_key_outdated"
    assert here.wrapping_id == KEY.wrapping[0].id


def test_the_keys_that_were_used_last_are_remembered() -> None:
    vault, key = Vault(KEY), CustomerKey.new()
    first, second, *others = [CustomerId(f"cust_{n}") for n in range(KEYS_REMEMBERED_MAX + 1)]
    for customer_id in (first, second, *others[:-1]):
        vault.remember(customer_id, key)
    assert vault.recall(first) is key
    vault.remember(others[-1], key)
    assert vault.recall(first) is key
    assert vault.recall(second) is None


def test_tokens_cursors_and_keys_of_requests_outlive_a_rotation() -> None:
    rotated = parse(KEY.with_wrapping(WrappingKey.new()).text(), "here")
    for purpose in ("token-hash", "cursor", "idempotency", "email-claim", "fingerprint"):
        assert rotated.subkey(purpose) == KEY.subkey(purpose)


def test_a_claim_stands_for_one_address_of_one_tenant() -> None:
    vault, other = Vault(KEY), Vault(MasterKey.of(b"o" * 32))
    claim = vault.claim("acme", "jane@example.com")
    assert claim == vault.claim("acme", "jane@example.com")
    assert claim == Vault(KEY.with_wrapping(WrappingKey(b"n" * 32))).claim(
        "acme", "jane@example.com"
    )
    others = {vault.claim("b", "jane@example.com"), vault.claim("acme", "joe@example.com")}
    assert len({claim, other.claim("acme", "jane@example.com")} | others) == 4
    assert "jane" not in claim


def test_an_opener_takes_a_key_up_once_and_only_from_what_it_is_shown() -> None:
    vault = Vault(KEY)
    key, other = CustomerKey.new(), CustomerKey.new()
    where = (JANE, "customer.created", 1, 1)
    sealed, wrapped = key.seal(b"{}", place(*where)), vault.wrap(JANE, key)
    opener = Opener(vault)
    assert opener.open(*where, sealed, wrapped) == "{}"
    assert opener.open(*where, sealed, bytes(wrapped)) == "{}"
    for damaged in (vault.wrap(JANE, other), wrapped[:-1] + b"?", b"short", None):
        with pytest.raises(Corrupt):
            opener.open(*where, sealed, damaged)
    with pytest.raises(Corrupt):
        opener.open(JOE, *where[1:], sealed, wrapped)
    assert opener.open(*where, sealed, wrapped) == "{}"


def test_an_opener_remembers_no_more_keys_than_the_limit_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.vault.opener.KEYS_REMEMBERED_MAX", 2)
    vault, opener = Vault(KEY), Opener(Vault(KEY))
    for number in (1, 2, 3, 1):
        customer_id, key = CustomerId(f"cust_{number}"), CustomerKey(bytes([number]) * 32)
        where = (customer_id, "customer.created", 1, 1)
        sealed = key.seal(b"{}", place(*where))
        assert opener.open(*where, sealed, vault.wrap(customer_id, key)) == "{}"
        assert len(opener._keys) <= 2
