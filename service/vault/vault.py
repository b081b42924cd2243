"""The keys of customers: made, wrapped, and remembered while they are in use.

Invariant: whether a customer is forgotten is what the database says, each time it is asked. What is
remembered here is only for writing, where the append finds out whether the customer still lives.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b

import structlog

from service.errors import ConfigurationError, Corrupt, Unavailable
from service.identifiers import CustomerId
from service.master_key import KeyProvider, MasterKey, WrappingKey
from service.master_key.wrapping_key import ID_BYTES as WRAPPING_ID_BYTES
from service.vault.customer_key import CustomerKey

KEYS_REMEMBERED_MAX = 20_000  # twice as many as states of customers; 1 kB each
CLAIM_BYTES = 16
OUTDATED = "master_key_outdated"


class Vault:
    """One for each process. `provider` is asked again when keys turn up that `key` did not wrap."""

    def __init__(self, key: MasterKey, provider: KeyProvider | None = None) -> None:
        self._provider = provider
        self._wrapping = key.wrapping[0]
        self._latest = key.wrapping
        # Invariant: the keys of the last two readings that differ: what was read from the database
        # before a rotation ended may have to be opened after it.
        self._unwrapping = {each.id: each for each in key.wrapping}
        # Copied for every use, which is cheaper than taking up the key anew.
        self._claimer = blake2b(digest_size=CLAIM_BYTES, key=key.subkey("email-claim"))
        # Invariant: at most KEYS_REMEMBERED_MAX; those that were used last.
        self._remembered: OrderedDict[CustomerId, CustomerKey] = OrderedDict()

    @property
    def wrapping_id(self) -> bytes:
        """Of the key that wraps now."""
        return self._wrapping.id

    def wrap(self, customer_id: CustomerId, key: CustomerKey) -> bytes:
        return self._wrapping.wrap(customer_id, key.secret)

    def unwrap(self, customer_id: CustomerId, wrapped: bytes) -> CustomerKey:
        """Raises Corrupt for what is damaged, Unavailable where the master key is outdated."""
        wrapping = self._unwrapping.get(wrapped[:WRAPPING_ID_BYTES])
        if wrapping is None:
            wrapping = self._after_rotation(customer_id, wrapped)
        return CustomerKey(wrapping.unwrap(customer_id, wrapped))

    def remember(self, customer_id: CustomerId, key: CustomerKey) -> None:
        self._remembered[customer_id] = key
        self._remembered.move_to_end(customer_id)
        if len(self._remembered) > KEYS_REMEMBERED_MAX:
            self._remembered.popitem(last=False)

    def recall(self, customer_id: CustomerId) -> CustomerKey | None:
        key = self._remembered.get(customer_id)
        if key is not None:
            self._remembered.move_to_end(customer_id)
        return key

    def drop(self, customer_id: CustomerId) -> None:
        self._remembered.pop(customer_id, None)

    def claim(self, tenant: str, email: str) -> str:
        """What stands for an e-mail address where it is claimed: the same for the same address of
        the same tenant; nobody can tell it, or try addresses, without the master key."""
        claimer = self._claimer.copy()
        claimer.update(f"{tenant}\n{email}".encode())
        return claimer.hexdigest()

    def wrap_by(self, wrapping_id: bytes) -> None:
        """Wrap by this one from now on: the one that the database takes, which in a rotation may
        be either. Raises Unavailable where the provider does not have it."""
        self._wrapping = self._unwrapping.get(wrapping_id) or self._read_again(wrapping_id)

    def _after_rotation(self, customer_id: CustomerId, wrapped: bytes) -> WrappingKey:
        if len(wrapped) <= WRAPPING_ID_BYTES:
            raise Corrupt(f"the stored key of {customer_id} is damaged")
        return self._read_again(wrapped[:WRAPPING_ID_BYTES])

    def _read_again(self, wrapping_id: bytes) -> WrappingKey:
        """The wrapping key of this id, which is not known yet, for the master key was rotated.

        Raises Unavailable where it was not, or cannot be read.
        """
        key = self._read()
        if key is not None and key.wrapping != self._latest:
            self._unwrapping = {each.id: each for each in (*self._latest, *key.wrapping)}
            self._wrapping, self._latest = key.wrapping[0], key.wrapping
            structlog.get_logger().info("master_key_renewed")
        wrapping = self._unwrapping.get(wrapping_id)
        if wrapping is None:
            raise _outdated(self._provider)
        return wrapping

    def _read(self) -> MasterKey | None:
        try:
            return None if self._provider is None else self._provider.read()
        except ConfigurationError as error:
            # At a start it ends the process; at work it may be mended under the next request.
            raise Unavailable(OUTDATED, str(error)) from error


def _outdated(provider: KeyProvider | None) -> Unavailable:
    where = "this process" if provider is None else str(provider)
    return Unavailable(
        OUTDATED,
        f"Keys of customers are wrapped by a master key that {where} does not have:"
        " give it the one that is in use.",
    )
