"""How text is compared: for search, for sorting, for tags. Pure.

Invariant: the projection that stores these keys and the queries that ask for them use these very
functions, so what was stored can be found. Changing one means rebuilding the read model.
"""

from __future__ import annotations

import zlib
from unicodedata import combining, normalize

_SEPARATOR = "\x01"  # sorts below everything that people write


def fold(text: str) -> str:
    """Without case and accents: `Zoë Ångström` becomes `zoe angstrom`."""
    if text.isascii():
        return text.lower()
    decomposed = normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not combining(character)).casefold()


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
    seed = zlib.crc32(tenant.encode())
    runs = {
        line[start : start + length]
        for line in text.split("\n")
        for length in (2, 3)
        for start in range(len(line) - length + 1)
    }
    return {zlib.crc32(run.encode(), seed) - 0x8000_0000 for run in runs}
