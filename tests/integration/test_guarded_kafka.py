"""TLS and SASL to Kafka by the settings alone, on a real broker that asks for them.

Invariant: what is refused is refused for the reason named, with one sentence that says so.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

from service.cli.connections import kafka_config
from service.errors import Unavailable
from service.kafka import KafkaConfig, Producer, Record, Topics
from service.settings import read_settings
from tests.end_to_end.command import run
from tests.servers.choice import JAVA_MAJOR_MIN, look_around
from tests.servers.guarded_kafka import USER, GuardedKafka
from tests.support.certificates import Authority
from tests.support.topics import read_topic

PASSWORD = secrets.token_hex(16)
TIMEOUT_SECONDS = 5.0
Names: TypeAlias = dict[str, str]  # of settings, without the prefix


@dataclass(frozen=True)
class Guarded:
    kafka: GuardedKafka
    ours: Authority
    others: Authority
    folder: Path

    def tls(self, listener: str, *, host: str = "localhost") -> Names:
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.address(listener, host),
            "KAFKA_SECURITY_PROTOCOL": "SSL",
            "KAFKA_TLS_CA_FILE": str(self.ours.certificate),
        }

    def certified(self, authority: Authority) -> Names:
        pair = authority.sign("client")
        return {
            **self.tls("MUTUAL"),
            "KAFKA_TLS_CERTIFICATE_FILE": str(pair.certificate),
            "KAFKA_TLS_KEY_FILE": str(pair.key),
        }

    def sasl(self, mechanism: str, password: str = PASSWORD, listener: str = "GUARDED") -> Names:
        return {
            **self.tls(listener),
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL" if listener == "GUARDED" else "SASL_PLAINTEXT",
            "KAFKA_SASL_MECHANISM": mechanism,
            "KAFKA_SASL_USERNAME": USER,
            "KAFKA_SASL_PASSWORD": password,
        }


@pytest.fixture(scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    here = look_around()
    if not (here.maven and here.java_major >= JAVA_MAJOR_MIN):
        pytest.skip("needs mvn and Java 17, for a real Kafka of its own")
    folder = tmp_path_factory.mktemp("guarded")
    ours, others = Authority.made(folder / "ours"), Authority.made(folder / "others")
    kafka = GuardedKafka(ours, folder, PASSWORD)
    try:
        await kafka.start()
        yield Guarded(kafka, ours, others, folder)
    finally:
        await kafka.stop()


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch, topic_suffix: str) -> Configure:
    return Configure(monkeypatch, topic_suffix)


@dataclass(frozen=True)
class Configure:
    """What the settings make of such names."""

    monkeypatch: pytest.MonkeyPatch
    suffix: str

    def __call__(self, names: Mapping[str, str]) -> KafkaConfig:
        for name, value in {**names, "KAFKA_TOPIC_PREFIX": f"{self.suffix}."}.items():
            self.monkeypatch.setenv(f"CUSTOMERS_{name}", value)
        settings = read_settings(Path("there-is-no-such-file"))
        return kafka_config(settings, settings.require_kafka_bootstrap_servers())


WAYS_IN = {
    "tls": lambda guarded: guarded.tls("ENCRYPTED"),
    "certificate": lambda guarded: guarded.certified(guarded.ours),
    "plain": lambda guarded: guarded.sasl("PLAIN"),
    "scram-256": lambda guarded: guarded.sasl("SCRAM-SHA-256"),
    "scram-512": lambda guarded: guarded.sasl("SCRAM-SHA-512"),
    "scram in clear": lambda guarded: guarded.sasl("SCRAM-SHA-512", listener="SCRAMMED"),
}
REFUSED = {
    "another CA": (
        lambda guarded: {
            **guarded.tls("ENCRYPTED"),
            "KAFKA_TLS_CA_FILE": str(guarded.others.certificate),
        },
        "Kafka shows a certificate of a CA that is not trusted here.",
    ),
    "another host": (
        lambda guarded: guarded.tls("ENCRYPTED", host="127.0.0.1"),
        "Kafka shows a certificate for another host than the one that is set.",
    ),
    "no certificate": (
        lambda guarded: guarded.tls("MUTUAL"),
        "Kafka refuses our certificate, or that we have none.",
    ),
    "a certificate of another CA": (
        lambda guarded: guarded.certified(guarded.others),
        "Kafka refuses our certificate, or that we have none.",
    ),
    "wrong password, PLAIN": (
        lambda guarded: guarded.sasl("PLAIN", "wrong"),
        "Kafka does not accept the user or the password of SASL.",
    ),
    "wrong password, SCRAM-SHA-256": (
        lambda guarded: guarded.sasl("SCRAM-SHA-256", "wrong"),
        "Kafka does not accept the user or the password of SASL.",
    ),
    "wrong password, SCRAM-SHA-512": (
        lambda guarded: guarded.sasl("SCRAM-SHA-512", "wrong"),
        "Kafka does not accept the user or the password of SASL.",
    ),
    "a mechanism that is not offered": (
        lambda guarded: guarded.sasl("PLAIN", listener="SCRAMMED"),
        "Kafka does not offer the mechanism in CUSTOMERS_KAFKA_SASL_MECHANISM here.",
    ),
    "SASL where there is none": (
        lambda guarded: {
            **guarded.sasl("SCRAM-SHA-512", listener="SCRAMMED"),
            "KAFKA_BOOTSTRAP_SERVERS": guarded.kafka.server.address,
        },
        "Kafka asks for no SASL at this port: see CUSTOMERS_KAFKA_SECURITY_PROTOCOL.",
    ),
    "TLS where there is none": (
        lambda guarded: {
            **guarded.tls("ENCRYPTED"),
            "KAFKA_BOOTSTRAP_SERVERS": guarded.kafka.server.address,
        },
        "than CUSTOMERS_KAFKA_SECURITY_PROTOCOL says.",
    ),
    "no TLS where there is some": (
        lambda guarded: {"KAFKA_BOOTSTRAP_SERVERS": guarded.kafka.address("ENCRYPTED")},
        "than CUSTOMERS_KAFKA_SECURITY_PROTOCOL says.",
    ),
}


@pytest.mark.parametrize("way", WAYS_IN)
async def test_who_proves_it_makes_topics_and_sends(
    way: str, guarded: Guarded, configured: Configure
) -> None:
    config = configured(WAYS_IN[way](guarded))
    topic = config.orders_topic
    async with Topics.connect(config) as topics:
        assert await topics.create_missing([topic]) == [topic.name]
    async with Producer.connect(config) as producer:
        await producer.send_keyed(topic.name, [Record(b"key", b"value", (), 0)])
    (found,) = await read_topic(guarded.kafka.server.address, topic.name)
    assert (found.key, found.value) == (b"key", b"value")


@pytest.mark.parametrize("case", REFUSED)
async def test_who_does_not_is_told_why(case: str, guarded: Guarded, configured: Configure) -> None:
    names, sentence = REFUSED[case]
    config = configured(names(guarded))
    with pytest.raises(Unavailable) as at_topics:
        async with Topics.connect(config):
            pass
    with pytest.raises(Unavailable) as at_producer:
        async with Producer.connect(config):
            pass
    for raised in (at_topics, at_producer):
        assert raised.value.code == "broker_unavailable"
        assert raised.value.detail.endswith(sentence)


async def test_an_operator_reads_the_sentence(
    guarded: Guarded, database: str, tmp_path: Path
) -> None:
    done = run(tmp_path, "migrate", DATABASE_URL=database, **guarded.sasl("PLAIN", "wrong"))
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said == "Kafka does not accept the user or the password of SASL."
    assert PASSWORD not in done.stderr


async def test_a_new_epoch_whose_topics_may_not_be_deleted_says_how_to_go_on(
    guarded: Guarded, database: str, tmp_path: Path, topic_suffix: str
) -> None:
    settings = {
        "DATABASE_URL": database,
        "KAFKA_BOOTSTRAP_SERVERS": guarded.kafka.server.address,
        "KAFKA_TOPIC_PREFIX": f"{topic_suffix}.",
    }
    assert run(tmp_path, "migrate", **settings).returncode == 0
    done = run(tmp_path, "log", "new-epoch", "--delete-topics", **settings)
    assert done.returncode == 1
    reason, how = done.stderr.splitlines()[-1].split(
        ". The epoch has begun all the same, so go on:"
    )
    assert reason == "Kafka lets nobody delete topics, by its setting delete.topic.enable"
    for topic in ("customer.events.v1", "customer.state.v1", "customer.relay.v1"):
        assert f"{topic_suffix}.{topic}" in how
    told = run(tmp_path, "log", "epochs", "--json", **settings)
    assert len(json.loads(told.stdout)["ended"]) == 1


async def test_a_kafka_that_lets_nobody_in_leaves_the_epoch_as_it_is(
    guarded: Guarded, database: str, tmp_path: Path
) -> None:
    away = {"DATABASE_URL": database, **guarded.sasl("PLAIN", "wrong")}
    assert run(tmp_path, "migrate", DATABASE_URL=database).returncode == 0
    done = run(tmp_path, "log", "new-epoch", "--delete-topics", **away)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["Kafka does not accept the user or the password of SASL."]
    told = run(tmp_path, "log", "epochs", "--json", DATABASE_URL=database)
    assert json.loads(told.stdout)["ended"] == []
