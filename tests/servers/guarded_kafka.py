"""A real Apache Kafka with a listener for every way of proving who one is.

Invariant: one broker, one password, one authority; beside the guarded listeners stands the open one
of every local Kafka, by which tests look at what came in.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from service.embedded.child_process import free_port
from tests.servers.apache_kafka import LocalKafka
from tests.servers.server import Server
from tests.support.certificates import Authority

USER: Final = "app"
REQUEST_TIMEOUT_SECONDS: Final = 20.0
ITERATIONS: Final = 4_096  # the fewest that Kafka takes
# Each listener's name, and what it speaks. MUTUAL asks for a certificate; SCRAMMED knows one
# mechanism only.
LISTENERS: Final = {
    "ENCRYPTED": "SSL",
    "MUTUAL": "SSL",
    "GUARDED": "SASL_SSL",
    "SCRAMMED": "SASL_PLAINTEXT",
}
_SCRAM: Final = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
_PLAIN: Final = "org.apache.kafka.common.security.plain.PlainLoginModule required"


class GuardedKafka:
    def __init__(self, authority: Authority, folder: Path, password: str) -> None:
        self._ports = {name: free_port() for name in LISTENERS}
        self._password = password
        shown = authority.sign("broker", "localhost")
        store = folder / "broker-store.pem"
        store.write_bytes(shown.key.read_bytes() + shown.certificate.read_bytes())
        self._kafka = LocalKafka(self._ports, _settings(store, authority.certificate, password))

    @property
    def server(self) -> Server:
        return self._kafka.server

    def address(self, listener: str, host: str = "localhost") -> str:
        return f"{host}:{self._ports[listener]}"

    async def start(self) -> None:
        await self._kafka.start()
        await asyncio.to_thread(self._make_user)

    async def stop(self) -> None:
        await self._kafka.stop()

    def _make_user(self) -> None:
        """For SCRAM; PLAIN has it in the broker's settings."""
        admin = AdminClient({"bootstrap.servers": self.server.address})
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            credential = ScramCredentialInfo(mechanism, ITERATIONS)
            wanted = UserScramCredentialUpsertion(USER, credential, self._password.encode())
            made = admin.alter_user_scram_credentials([wanted])  # a user once in each request
            made[USER].result(REQUEST_TIMEOUT_SECONDS)


def _settings(store: Path, authority: Path, password: str) -> dict[str, str]:
    spoken = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **LISTENERS}
    guarded, scrammed = "listener.name.guarded", "listener.name.scrammed"
    return {
        "listener.security.protocol.map": ",".join(f"{a}:{b}" for a, b in spoken.items()),
        "delete.topic.enable": "false",  # refused, as by an access rule
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(store),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority),
        "listener.name.mutual.ssl.client.auth": "required",
        f"{guarded}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        f"{guarded}.plain.sasl.jaas.config": f'{_PLAIN} user_{USER}="{password}";',
        f"{guarded}.scram-sha-256.sasl.jaas.config": _SCRAM,
        f"{guarded}.scram-sha-512.sasl.jaas.config": _SCRAM,
        f"{scrammed}.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        f"{scrammed}.scram-sha-512.sasl.jaas.config": _SCRAM,
    }
