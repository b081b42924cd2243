"""The topic of states beside what is shown: the last record of each customer.

Invariants: customers are taken in buckets of at most about BUCKET_CUSTOMERS_MAX, by a hash of their
ids, and the topic is read once for each, so memory is bounded. A customer whose last event lies
behind the place up to which states are written is on its way, whatever the topic says.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from itertools import islice
from typing import NamedTuple
from zlib import crc32

from service.errors import Unavailable
from service.event_log import EventLog
from service.findings import Finding, Findings, Progress
from service.kafka import (
    STATE_TYPE,
    ConsumedRecord,
    KafkaConfig,
    SideBySide,
    Topics,
    partition_for,
)
from service.postgres import Postgres
from service.verification.log import SQL

BUCKET_CUSTOMERS_MAX = 100_000  # about 40 MB
SHOWN_MAX = 200  # customers whose documents are read at once
IDS_MAX = 10_000
DIGEST_BYTES = 16


class _Last(NamedTuple):
    """A customer's last record. `digest` None: a tombstone."""

    version: int
    digest: bytes | None
    partition: int
    offset: int


class _Shown(NamedTuple):
    customer_id: str
    version: int
    position: int
    document: str | None


class _Id(NamedTuple):
    customer_id: str
    position: int


async def verify_states(
    postgres: Postgres,
    config: KafkaConfig,
    findings: Findings,
    progress: Progress,
    *,
    bucket_customers_max: int = BUCKET_CUSTOMERS_MAX,
) -> int:
    """How many customers' states were compared. Raises Unavailable."""
    head = await EventLog(postgres).head()
    name = config.state_topic.name
    async with Topics.connect(config) as topics:
        topic = await topics.describe(name)
    if topic is None:
        raise Unavailable("broker_unavailable", f"There is no topic {name}: run migrate.")
    # Before the topic is read: what lies up to here must be in it.
    place = await postgres.fetch_one(int, SQL["states_place"], head.epoch, topic.id) or 0
    customers = await postgres.fetch_one(int, SQL["count_streams"]) or 0
    buckets = max(1, -(-customers // bucket_customers_max))
    progress.begin("states: customers", customers)
    compared = 0
    for bucket in range(buckets):
        topic_part = _TopicPart(config, name, topic.partitions, head.epoch, bucket, buckets)
        last = await topic_part.read(findings)
        compared += await _compare(postgres, last, place, findings, progress)
        await _find_absent(postgres, last, place, topic_part, findings)
    return compared


class _TopicPart:
    """The topic, as far as one bucket's customers go."""

    def __init__(
        self,
        config: KafkaConfig,
        topic: str,
        partitions: int,
        epoch: str,
        bucket: int,
        buckets: int,
    ) -> None:
        self._config = config
        self._topic = topic
        self._partitions = partitions
        self._epoch = epoch.encode()
        self._bucket = bucket
        self._buckets = buckets

    def is_ours(self, key: bytes) -> bool:
        return crc32(key) % self._buckets == self._bucket

    async def read(self, findings: Findings) -> dict[str, _Last]:
        last: dict[str, _Last] = {}
        async with SideBySide.open(self._config, self._topic, self._partitions) as reader:
            for partition in range(self._partitions):
                while records := await reader.next(partition):
                    for record in records:
                        self._take(record, last, findings)
        return last

    def _take(self, record: ConsumedRecord, last: dict[str, _Last], findings: Findings) -> None:
        headers = dict(record.headers)
        key = record.key
        if headers.get("ce_type") != STATE_TYPE.encode() or key is None or not self.is_ours(key):
            return
        customer_id = key.decode(errors="replace")
        place = customer_id, None, record.partition, record.offset
        if headers.get("ce_epoch") != self._epoch:
            detail = "the record is of another epoch, that is another log"
            findings.add(Finding("different", "states", detail, *place))
        elif partition_for(key, self._partitions) != record.partition:
            detail = "the record's key belongs to another partition"
            findings.add(Finding("unexpected", "states", detail, *place))
        elif not headers.get("ce_sequence", b"").isdigit():
            detail = "the record calls itself ours and is not whole"
            findings.add(Finding("different", "states", detail, *place))
        else:
            digest = None if record.value is None else _digest(record.value)
            version = int(headers["ce_sequence"])
            last[customer_id] = _Last(version, digest, record.partition, record.offset)


async def _compare(
    postgres: Postgres,
    last: dict[str, _Last],
    place: int,
    findings: Findings,
    progress: Progress,
) -> int:
    """Those who have a record, with what is shown of them now, which is no older than the topic."""
    compared = 0
    for customer_ids in _chunks(last):
        rows = await postgres.fetch(_Shown, SQL["shown"], customer_ids)
        shown = {row.customer_id: row for row in rows}
        for customer_id in customer_ids:
            finding = _state_finding(shown.get(customer_id), last[customer_id], place, customer_id)
            if finding is not None:
                findings.add(finding)
        compared += len(shown)
        progress.advance(len(shown))
    return compared


def _state_finding(
    shown: _Shown | None, last: _Last, place: int, customer_id: str
) -> Finding | None:
    where = last.partition, last.offset
    if shown is None:
        detail = "a state of a customer whom the read model does not know"
        return Finding("unexpected", "states", detail, customer_id, None, *where)
    digest = None if shown.document is None else _digest(shown.document.encode())
    if last.version == shown.version and last.digest == digest:
        return None
    if shown.position > place and last.version <= shown.version:
        return None  # on its way
    if digest is None and last.digest is not None:
        detail = "the last record of a deleted customer is not a tombstone"
    elif last.version != shown.version:
        detail = f"the last record shows version {last.version}, the read model {shown.version}"
    else:
        detail = "the last record's value is not what is shown"
    return Finding("different", "states", detail, customer_id, shown.position, *where)


async def _find_absent(
    postgres: Postgres,
    last: dict[str, _Last],
    place: int,
    topic_part: _TopicPart,
    findings: Findings,
) -> None:
    after = ""
    while page := await postgres.fetch(_Id, SQL["shown_ids"], after, IDS_MAX):
        for customer_id, position in page:
            is_due = position <= place and topic_part.is_ours(customer_id.encode())
            if is_due and customer_id not in last:
                detail = "the topic has no record of the customer"
                findings.add(Finding("missing", "states", detail, customer_id, position))
        after = page[-1].customer_id


def _digest(value: bytes) -> bytes:
    return blake2b(value, digest_size=DIGEST_BYTES).digest()


def _chunks(last: Iterable[str]) -> Iterable[list[str]]:
    ids = iter(last)
    while chunk := list(islice(ids, SHOWN_MAX)):
        yield chunk
