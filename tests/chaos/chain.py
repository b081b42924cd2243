"""Reading the events topic as the contract describes it, and noticing whatever is missing,
doubled or out of order.

Invariant: nothing of the service takes part in it. A topic that was made anew is begun anew: what
it repeats must be what it was, and positions that were not read before must not be missing.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from hashlib import blake2b

from tests.chaos.findings import Findings

WATERMARK = "customer.watermark.v1"
UNREAD = 0


def identity(customer_id: str, version: int, kind: str) -> int:
    """What an event at a position is, in eight bytes, never 0; `kind` as in ce_type."""
    text = f"{customer_id} {version} {kind}".encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big") or 1


class Reading:
    """All records of a topic so far, read committed, partition by partition.

    `repeats_allowed`: the delivery is at least once, so a repeat only counts.
    """

    def __init__(self, partitions: int, *, repeats_allowed: bool) -> None:
        self._partitions = partitions
        self._repeats_allowed = repeats_allowed
        self.findings = Findings()
        self.identities = array("Q")  # by position - 1; UNREAD where there was none
        self.records = 0
        self.repeats = 0  # of a position in one and the same topic
        self.republished = 0  # of a position, in a topic that was made anew
        self.begin_anew()

    def begin_anew(self) -> None:
        """The topic was made anew: offsets and chains begin again, positions do not."""
        self.reached = [0] * self._partitions
        self._versions: dict[str, int] = {}
        self._here = bytearray()  # positions that this topic has shown, a byte each

    def take(self, partition: int, headers: Mapping[str, str]) -> None:
        self.records += 1
        position = int(headers["ce_position"])
        previous = int(headers["ce_previousposition"])
        before = self.reached[partition]
        if position <= before:
            self._take_repeat(partition, position, headers)
            return
        if previous != before:
            self.findings.add(
                "out of order" if previous < before else "lost",
                f"partition {partition}: {position} names {previous}, before it came {before}",
            )
        self.reached[partition] = position
        if headers["ce_type"] != WATERMARK:
            self._take_event(position, headers)

    def _take_repeat(self, partition: int, position: int, headers: Mapping[str, str]) -> None:
        self.repeats += 1
        if headers["ce_type"] == WATERMARK:
            return  # says nothing twice: everything up to there is published, still
        if not self._shown(position):
            self.findings.add("out of order", f"partition {partition}: {position} came late")
        elif not self._repeats_allowed:
            self.findings.add("twice", f"partition {partition}: position {position} again")

    def _take_event(self, position: int, headers: Mapping[str, str]) -> None:
        customer_id, version = headers["ce_subject"], int(headers["ce_sequence"])
        found = identity(customer_id, version, headers["ce_type"])
        self._grow(position)
        known = self.identities[position - 1]
        if self._here[position - 1]:
            self.findings.add("twice", f"position {position} in two partitions")
        if known != UNREAD:
            self.republished += 1
            if known != found:
                self.findings.add("wrong", f"position {position} is another event than it was")
        self.identities[position - 1] = found
        self._here[position - 1] = 1
        if version != self._versions.get(customer_id, 0) + 1:
            text = f"position {position}: version {version} of {customer_id} is not the next one"
            self.findings.add("out of order", text)
        self._versions[customer_id] = version

    def _shown(self, position: int) -> bool:
        return position <= len(self._here) and bool(self._here[position - 1])

    def _grow(self, position: int) -> None:
        if position > len(self.identities):
            self.identities.extend([UNREAD] * (position - len(self.identities)))
        if position > len(self._here):
            self._here.extend(bytes(position - len(self._here)))


def compare(read: array[int], logged: array[int], reader: str) -> Findings:
    """Every position of the log once, as it lies there."""
    findings = Findings()
    if read == logged:
        return findings
    for number, known in enumerate(logged):
        found = read[number] if number < len(read) else UNREAD
        if found == UNREAD:
            findings.add("lost", f"{reader} never read position {number + 1}")
        elif found != known:
            findings.add("wrong", f"{reader} read another event at position {number + 1}")
    for number in range(len(logged), len(read)):
        findings.add("wrong", f"{reader} read position {number + 1}, which the log does not have")
    return findings
