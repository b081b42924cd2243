"""How text is compared: for search, for sorting, for tags. Pure.

Invariant: the projection that stores these keys and the queries that ask for them use these very
functions, so what was stored can be found. Changing one means rebuilding the read model.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from unicodedata import combining, normalize

_SEPARATOR = "\x01"  # sorts below everything that people write
# Letters that Unicode does not take apart, as people type them who have no such key.
_PLAIN = str.maketrans(
    {
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "ħ": "h",
        "ŧ": "t",
        "ı": "i",
        "ŋ": "n",
        "æ": "ae",
        "œ": "oe",
        "þ": "th",
    }
)
RUNS_REMEMBERED_MAX = 50_000  # of one tenant, 200 bytes each: all that letters and digits make
TENANTS_REMEMBERED_MAX = 4


def fold(text: str) -> str:
    """Without case and accents: `Zoë Ångström` becomes `zoe angstrom`, and `Łukasz` `lukasz`."""
    if text.isascii():
        return text.lower()
    decomposed = normalize("NFKD", text.casefold())
    kept = "".join(character for character in decomposed if not combining(character))
    return kept.casefold().translate(_PLAIN)


def sort_key(text: str) -> str:
    """Compared by code point, it orders by the folded text, then by the text itself."""
    return fold(text) + _SEPARATOR + text


def tag_key(tag: str) -> str:
    """Tags differ only where these differ: case does not count, accents do."""
    return tag.casefold()


def search_words(*texts: str | None) -> str:
    """The folded texts, one per line, in which a word of a search is looked for."""
    return "\n".join(fold(text) for text in texts if text)


def grams(text: str, tenant: str) -> set[int]:
    """Every run of two and of three characters within a line of folded text, as 32-bit numbers.

    The tenant is mixed in, so one tenant's search never walks through another's customers.
    """
    numbers = _numbers(tenant)
    if len(numbers) > RUNS_REMEMBERED_MAX:
        numbers.clear()
    found: set[int] = set()
    for line in text.split("\n"):
        second = line[1:]
        found.update(
            map(numbers.__getitem__, zip(line, second, strict=False)),
            map(numbers.__getitem__, zip(line, second, second[1:], strict=False)),
        )
    return found


class _Numbers(dict[tuple[str, ...], int]):
    """Of runs of characters; each is worked out when it is first asked for."""

    def __init__(self, tenant: str) -> None:
        super().__init__()
        self._seed = zlib.crc32(tenant.encode())

    def __missing__(self, run: tuple[str, ...]) -> int:
        number = self[run] = zlib.crc32("".join(run).encode(), self._seed) - 0x8000_0000
        return number


_numbers = lru_cache(TENANTS_REMEMBERED_MAX)(_Numbers)
