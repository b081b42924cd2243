"""Opens what is sealed, event after event, and takes each customer's key up once.

Invariant: a key is remembered only beside what it was unwrapped from, so what opens is what the
database says now; where it says that the key is destroyed, nobody asks here.
"""

from __future__ import annotations

from service.errors import Corrupt
from service.identifiers import CustomerId
from service.vault.customer_key import CustomerKey, place
from service.vault.vault import Vault

KEYS_REMEMBERED_MAX = 50_000  # about 1 kB each


class Opener:
    """For as long as events are read, and no longer."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        # Invariant: at most KEYS_REMEMBERED_MAX; by customer, beside what was unwrapped.
        self._keys: dict[str, tuple[bytes, CustomerKey]] = {}

    def open(
        self,
        customer_id: str,
        type_name: str,
        schema_version: int,
        version: int,
        sealed: bytes,
        wrapped: bytes | None,
    ) -> str:
        """The event's data. Raises Corrupt where it, or the key, is damaged or lost; Unavailable
        where our master key is outdated."""
        where = place(customer_id, type_name, schema_version, version)
        return self.key(customer_id, wrapped).open(sealed, where).decode()

    def key(self, customer_id: str, wrapped: bytes | None) -> CustomerKey:
        """Raises Corrupt where it is damaged or lost; Unavailable."""
        if wrapped is None:
            raise Corrupt(f"the key of {customer_id} is lost, and it was not deleted")
        known = self._keys.get(customer_id)
        if known is None or known[0] != wrapped:
            if len(self._keys) >= KEYS_REMEMBERED_MAX:
                self._keys.clear()
            known = wrapped, self._vault.unwrap(CustomerId(customer_id), wrapped)
            self._keys[customer_id] = known
        return known[1]
