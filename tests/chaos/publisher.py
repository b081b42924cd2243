"""The shop: publishes its orders with a producer of its own, and keeps the ledger.

Invariant: what is in the ledger was acknowledged by the broker before this process says that it is
done. After a wipe it is told `again`: it then sends the last version of every order once more, as
the contract lets a shop do at any time. `hold` and `go` keep it from running away from readers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random
from time import monotonic, sleep
from urllib.error import URLError
from urllib.request import Request, urlopen

import confluent_kafka
import orjson

from tests.chaos.control import Told, configuration, say
from tests.chaos.orders import Order, Shop

TURN_SECONDS = 0.05
LOOK_SECONDS = 3.0  # between looks at the list of customers
LOOK_TIMEOUT_SECONDS = 2.0
MET_MAX = 5_000
FINISH_SECONDS = 90.0
FLUSH_SECONDS = 10.0
RESEND_SECONDS = 1.0
QUEUE_FULL_SECONDS = 0.1
MESSAGE_TIMEOUT_MILLISECONDS = 30_000


class Publisher:
    def __init__(self, servers: str, topic: str, shop: Shop, *, idempotent: bool) -> None:
        self._settings = {
            "bootstrap.servers": servers,
            "enable.idempotence": idempotent,
            "acks": "all",
            "partitioner": "murmur2_random",
            "linger.ms": 20,
            "message.timeout.ms": MESSAGE_TIMEOUT_MILLISECONDS,
            "topic.metadata.refresh.interval.ms": 1_000,
            "reconnect.backoff.max.ms": 1_000,
            "queue.buffering.max.messages": 50_000,
            "log_level": 0,
        }
        self._topic = topic
        self._shop = shop
        self._producer = confluent_kafka.Producer(self._settings)
        self._failed: set[str] = set()  # orders of which a message was not acknowledged
        self.sent = 0
        self.failures = 0
        self.producers = 1

    def send(self, orders: Iterable[Order]) -> None:
        for order in orders:
            key = str(order["orderId"]).encode()
            self._produce(key, orjson.dumps(order))
            self.sent += 1
        self._producer.poll(0)

    def _produce(self, key: bytes, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(self._topic, value, key, on_delivery=self._delivered)
            except BufferError:
                self._producer.poll(QUEUE_FULL_SECONDS)
            except confluent_kafka.KafkaException:  # a fatal error: this producer is done for
                self._begin_anew()
            else:
                return

    def _delivered(
        self, error: confluent_kafka.KafkaError | None, message: confluent_kafka.Message
    ) -> None:
        if error is not None:
            self.failures += 1
            self._failed.add(message.key().decode())

    def _begin_anew(self) -> None:
        old, self._producer = self._producer, confluent_kafka.Producer(self._settings)
        old.purge()
        old.flush(FLUSH_SECONDS)  # calls `_delivered` for what was purged
        self.producers += 1

    def send_failed_again(self) -> None:
        failed, self._failed = self._failed, set()
        self.send(self._shop.last[each] for each in failed if each in self._shop.last)

    def send_all_again(self) -> None:
        self.send(list(self._shop.last.values()))

    def finish(self) -> bool:
        """Everything is acknowledged; False where it was not in time."""
        deadline = monotonic() + FINISH_SECONDS
        while monotonic() < deadline:
            if self._producer.flush(FLUSH_SECONDS) == 0:
                if not self._failed:
                    return True
                self.send_failed_again()
        return False


class Acquaintances:
    """Customers that others have made: found in the list, as a shop would."""

    def __init__(self, urls: list[str], token: str, choose: Random) -> None:
        self._urls, self._token, self._choose = urls, token, choose
        self._looked_at = monotonic()

    def look(self, shop: Shop) -> None:
        if monotonic() - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = monotonic()
        request = Request(  # noqa: S310
            f"{self._choose.choice(self._urls)}/user?display=100",
            headers={"Authorization": f"Bearer {self._token}"},
        )
        try:
            with urlopen(request, timeout=LOOK_TIMEOUT_SECONDS) as answer:  # noqa: S310
                models = json.loads(answer.read())["models"]
        except (URLError, OSError):
            return  # it is away: another time
        known = set(shop.met)
        shop.met += [each["id"] for each in models if each["id"] not in known]
        del shop.met[:-MET_MAX]


def save(file: Path, shop: Shop, publisher: Publisher) -> None:
    file.write_bytes(
        orjson.dumps(
            {
                "last": list(shop.last.values()),
                "unknown": list(shop.unknown),
                "sent": publisher.sent,
                "failures": publisher.failures,
                "producers": publisher.producers,
            }
        )
    )


def main() -> None:
    config, told = configuration(), Told()
    choose = Random(config["seed"])
    shop = Shop(choose, config["customers"], "chaos")
    publisher = Publisher(config["servers"], config["topic"], shop, idempotent=config["idempotent"])
    others = Acquaintances(config["urls"], config["token"], choose)
    run(publisher, shop, others, told, config)
    is_done = publisher.finish()
    save(Path(config["file"]), shop, publisher)
    say(is_done=is_done, sent=publisher.sent)


def run(
    publisher: Publisher,
    shop: Shop,
    others: Acquaintances,
    told: Told,
    config: Mapping[str, object],
) -> None:
    """Until stopped: a slice of the rate in every turn."""
    due, resent_at, is_held = monotonic(), monotonic(), False
    a_turn = int(config["per_second"] * TURN_SECONDS)
    while not told.is_stopping.is_set():
        match told.next():
            case "again":
                publisher.send_all_again()
            case "hold":
                is_held = True
            case "go":
                is_held = False
        if not is_held:
            publisher.send(shop.messages(a_turn))
            others.look(shop)
        if monotonic() - resent_at > RESEND_SECONDS:
            publisher.send_failed_again()
            resent_at = monotonic()
        due = max(due + TURN_SECONDS, monotonic() - TURN_SECONDS)
        sleep(max(0.0, due - monotonic()))


if __name__ == "__main__":
    main()
