"""Which partitions fall silent while the log moves on.

Invariant: a partition is due once for each position it stayed behind of; where nothing moved,
nothing is due.
"""

from __future__ import annotations

from service.relay.standing import Standing

WATERMARK_SECONDS = 0.025


class Laggards:
    """Remembers since when each partition's last record has been behind the published position."""

    def __init__(self) -> None:
        self._since: dict[int, tuple[int, float]] = {}  # partition: its tail, first seen behind at

    def __bool__(self) -> bool:
        return bool(self._since)

    def due(self, standing: Standing, now: float) -> list[int]:
        """Partitions that have been behind for long enough at `now`, in seconds of any clock."""
        due: list[int] = []
        for partition, tail in enumerate(standing.tails):
            if tail >= standing.position:
                self._since.pop(partition, None)
                continue
            seen_tail, since = self._since.get(partition, (-1, now))
            if seen_tail != tail:
                since = now
                self._since[partition] = (tail, since)
            if now - since >= WATERMARK_SECONDS:
                due.append(partition)
        return due
