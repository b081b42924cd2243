"""A subscriber: reads the events topic with another client library, by the contract alone.

`hold` lets go of the topic, `anew` reads it from the beginning, as after a wipe; `until P` reads on
until every partition says that all up to P is published, and then tells what it has seen.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import confluent_kafka
import orjson
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from tests.chaos.chain import Reading
from tests.chaos.control import Told, configuration, say
from tests.chaos.findings import Findings

RECORDS_AT_ONCE = 2_000
WAIT_SECONDS = 0.2
UNTIL_TIMEOUT_SECONDS = 120.0
REFRESH_MILLISECONDS = 1_000


@dataclass
class Subscriber:
    """`file` gets what it has seen: JSON, and beside it the identities by position."""

    servers: str
    topic: str
    partitions: int
    reading: Reading
    _consumer: confluent_kafka.Consumer | None = field(default=None, init=False)

    def begin(self) -> None:
        self._consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": self.servers,
                "group.id": "subscriber",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "topic.metadata.refresh.interval.ms": REFRESH_MILLISECONDS,
                "reconnect.backoff.max.ms": REFRESH_MILLISECONDS,
                "log_level": 0,
            }
        )
        self._consumer.assign(
            [
                TopicPartition(self.topic, number, OFFSET_BEGINNING)
                for number in range(self.partitions)
            ]
        )

    def let_go(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def read_some(self) -> None:
        if self._consumer is None:
            return
        for record in self._consumer.consume(RECORDS_AT_ONCE, WAIT_SECONDS):
            if record.error() is None:  # else the broker is away: it is waited for
                headers = {name: value.decode() for name, value in record.headers()}
                self.reading.take(record.partition(), headers)

    def read_until(self, position: int) -> bool:
        deadline = monotonic() + UNTIL_TIMEOUT_SECONDS
        while min(self.reading.reached) < position:
            if monotonic() > deadline:
                return False
            self.read_some()
        return True


def save(file: Path, reading: Reading) -> None:
    document = {
        "records": reading.records,
        "repeats": reading.repeats,
        "republished": reading.republished,
        "counts": dict(reading.findings.counts),
        "texts": reading.findings.texts,
    }
    file.write_bytes(orjson.dumps(document))
    file.with_suffix(".positions").write_bytes(reading.identities.tobytes())


@dataclass
class Seen:
    """What a subscriber has saved."""

    records: int
    repeats: int
    republished: int
    findings: Findings
    identities: array[int]


def load(file: Path) -> Seen:
    told: Mapping[str, object] = orjson.loads(file.read_bytes())
    findings = Findings(texts=told["texts"])
    findings.counts.update(told["counts"])
    identities = array("Q")
    identities.frombytes(file.with_suffix(".positions").read_bytes())
    return Seen(told["records"], told["repeats"], told["republished"], findings, identities)


def main() -> None:
    config, told = configuration(), Told()
    reading = Reading(config["partitions"], repeats_allowed=config["repeats_allowed"])
    subscriber = Subscriber(config["servers"], config["topic"], config["partitions"], reading)
    subscriber.begin()
    while not told.is_stopping.is_set():
        match told.next().split():
            case ["hold"]:
                subscriber.let_go()
                say(held=True)
            case ["anew"]:
                reading.begin_anew()
                subscriber.begin()
            case ["until", position]:
                is_reached = subscriber.read_until(int(position))
                save(Path(config["file"]), reading)
                say(is_reached=is_reached, reached=reading.reached)
            case _:
                subscriber.read_some()
    subscriber.let_go()


if __name__ == "__main__":
    main()
