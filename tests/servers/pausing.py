"""Stopping a server's processes for a while, and waking them: SIGSTOP and SIGCONT.

Invariant: the first process is stopped first and woken last, so no child is missed that it starts
meanwhile, and none answers for it while it sleeps.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def pause(process_id: int) -> None:
    """It and all that it has started."""
    os.kill(process_id, signal.SIGSTOP)
    for child in descendants(process_id):
        _send(child, signal.SIGSTOP)


def wake(process_id: int) -> None:
    """Harmless where it was not paused, or has ended."""
    for child in descendants(process_id):
        _send(child, signal.SIGCONT)
    _send(process_id, signal.SIGCONT)


@contextmanager
def paused(process_id: int) -> Iterator[None]:
    """It hangs for the length of the block: its connections stay open, and nothing is answered."""
    pause(process_id)
    try:
        yield
    finally:
        wake(process_id)


def descendants(process_id: int) -> list[int]:
    """Linux tells through /proc; elsewhere none are found."""
    parents: dict[int, list[int]] = {}
    for child, parent in _processes():
        parents.setdefault(parent, []).append(child)
    found, new = [], [process_id]
    while new:
        children = parents.get(new.pop(), [])
        found += children
        new += children
    return found


def _processes() -> Iterator[tuple[int, int]]:
    """Each with its parent. In /proc/N/stat the parent is the second word behind the name."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "stat").read_text().rpartition(")")[2].split()
            yield int(folder.name), int(words[1])


def _send(process_id: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(process_id, number)
