"""The keys that tests seal and open with."""

from __future__ import annotations

from service.master_key import MasterKey
from service.vault import Vault

KEY = MasterKey.of(b"k" * 32)
VAULT = Vault(KEY)
