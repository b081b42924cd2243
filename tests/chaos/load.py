"""The load: processes of writers, a shop, a subscriber; and where they leave what they know."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from tests.chaos import journal, subscriber
from tests.chaos.control import STOP, Led, lead
from tests.chaos.findings import Findings
from tests.chaos.journal import Write
from tests.chaos.orders import Order
from tests.chaos.subscriber import Seen
from tests.system.installation import Installation

WRITERS = 32


@dataclass(frozen=True, slots=True)
class Size:
    """How much load."""

    writer_processes: int = 4
    writes_per_second: float = 90.0
    orders_per_second: int = 2_500
    customers: int = 600  # the shop's
    shared: int = 12  # customers that all writers write to
    victims: int = 60  # of the shop's customers: deleted on the way


@dataclass
class Prepared:
    """Customers that were made before the faults began."""

    customers: list[str]
    shared: list[str]
    request_ids: set[str]


@dataclass
class Load:
    folder: Path
    system: Installation
    urls: Sequence[str]  # of the APIs
    prepared: Prepared
    repeats_allowed: bool
    partitions: int
    real_kafka: bool
    writers: list[Led] = field(default_factory=list)
    shop: Led | None = None
    subscriber: Led | None = None

    async def start(self, seed: int, size: Size) -> None:
        self.subscriber = await self.subscribe("subscriber")
        common = {"seed": seed, "urls": list(self.urls), "token": self.system.token}
        victims = self.prepared.customers[: size.victims]
        for number in range(size.writer_processes):
            config = {
                **common,
                "file": str(self._file(f"writers-{number}")),
                "numbers": list(range(number, WRITERS, size.writer_processes)),
                "writers": WRITERS,
                "shared": self.prepared.shared,
                "victims": victims,
                "pause_seconds": WRITERS / size.writes_per_second,
            }
            self.writers.append(await lead("tests.chaos.writers", f"writers-{number}", config))
        config = {
            **common,
            "file": str(self._file("shop")),
            "servers": self.system.bootstrap_servers,
            "topic": f"{self.system.settings['KAFKA_TOPIC_PREFIX']}commerce.orders.v1",
            "customers": self.prepared.customers,
            "per_second": size.orders_per_second,
            "idempotent": self.real_kafka,
        }
        self.shop = await lead("tests.chaos.publisher", "shop", config)

    async def subscribe(self, name: str) -> Led:
        config = {
            "file": str(self._file(name)),
            "servers": self.system.bootstrap_servers,
            "topic": self.system.events_topic,
            "partitions": self.partitions,
            "repeats_allowed": self.repeats_allowed,
        }
        return await lead("tests.chaos.subscriber", name, config)

    def tell_shop(self, word: str) -> None:
        assert self.shop is not None
        self.shop.tell(word)

    async def before_wipe(self) -> None:
        """Nobody reads a topic that is about to be another one."""
        assert self.subscriber is not None
        self.subscriber.tell("hold")
        await self.subscriber.answer()

    def after_wipe(self) -> None:
        assert self.subscriber is not None
        self.subscriber.tell("anew")
        self.tell_shop("again")

    async def stop(self, findings: Findings) -> None:
        """Everybody gets the answer to what was begun, and the shop its acknowledgements."""
        assert self.shop is not None
        for each in (*self.writers, self.shop):
            each.tell(STOP)
        answers = await asyncio.gather(*(each.answer() for each in (*self.writers, self.shop)))
        if not answers[-1]["is_done"]:
            findings.add("harness", "not all orders were acknowledged by the broker")

    async def end(self) -> None:
        for each in (*self.writers, self.shop, self.subscriber):
            if each is not None:
                await each.end()

    async def read_until(self, reader: Led, position: int, findings: Findings) -> Seen:
        reader.tell(f"until {position}")
        answer = await reader.answer()
        if not answer["is_reached"]:
            text = f"{reader.name} was told of {answer['reached']}, the log ends at {position}"
            findings.add("lost", text)
        return subscriber.load(self._file(reader.name))

    def writes(self) -> list[Write]:
        files = [self._file(f"writers-{number}") for number in range(len(self.writers))]
        return [write for file in files for write in journal.load(file)]

    def own(self) -> list[Mapping[str, object]]:
        """The writers' own customers, as they foresee them."""
        files = [self._file(f"writers-{number}") for number in range(len(self.writers))]
        return [
            each
            for file in files
            for each in orjson.loads(file.with_suffix(".customers").read_bytes())
        ]

    def orders(self) -> tuple[list[Order], list[str], Mapping[str, int]]:
        """The last version of each, those of unknown customers, and how many were sent."""
        told = orjson.loads(self._file("shop").read_bytes())
        told_counts = {name: told[name] for name in ("sent", "failures", "producers")}
        return told["last"], told["unknown"], told_counts

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"
