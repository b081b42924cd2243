"""Makes a server hang without ending it: its connections stay open, and nothing is answered."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def paused(process_id: int) -> Iterator[None]:
    """The process and all it has started stand still for the length of the block."""
    stopped = [process_id]
    os.kill(process_id, signal.SIGSTOP)  # first, so that it starts no other meanwhile
    try:
        for child in _descendants(process_id):
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(child, signal.SIGSTOP)
                stopped.append(child)
        yield
    finally:
        for each in reversed(stopped):
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGCONT)


def _descendants(process_id: int) -> list[int]:
    """By /proc: the fourth field of `stat`, after a name in brackets, is the parent."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[int(folder.name)] = int(fields[1])
    found = [process_id]
    for each in found:  # grows on the way
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]
