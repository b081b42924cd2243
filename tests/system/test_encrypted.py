"""Everything over TLS: PostgreSQL verified, Kafka by SASL, both on servers that ask for it.

Invariant: no process knows an address at which it would be let in without.
"""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.servers.choice import JAVA_MAJOR_MIN, look_around
from tests.servers.guarded_kafka import USER, GuardedKafka
from tests.servers.server import Server
from tests.servers.tls_postgres import TlsPostgres, system_programs
from tests.support.certificates import Authority
from tests.support.topics import events_of, eventually, read_topic
from tests.system.installation import Installation, Role, installed

PASSWORD = secrets.token_hex(16)
LINKS = "SELECT count(*) FILTER (WHERE NOT ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.made(tmp_path / "authority")


@pytest.fixture
async def postgres(authority: Authority) -> AsyncIterator[TlsPostgres]:
    programs = system_programs()
    if programs is None:
        pytest.skip("needs an installed PostgreSQL: the embedded one has no TLS")
    shown = authority.sign("postgres", "localhost")
    server = TlsPostgres(programs, shown.certificate, shown.key, authority.certificate)
    try:
        await server.start()
        await server.execute(f"CREATE ROLE shop LOGIN PASSWORD '{PASSWORD}' CREATEROLE")
        await server.execute("GRANT CREATE ON DATABASE postgres TO shop")
        await server.execute("ALTER SCHEMA public OWNER TO shop")
        yield server
    finally:
        await server.stop()


@pytest.fixture
async def kafka(authority: Authority, tmp_path: Path) -> AsyncIterator[GuardedKafka]:
    here = look_around()
    if not (here.maven and here.java_major >= JAVA_MAJOR_MIN):
        pytest.skip("needs mvn and Java 17, for a real Kafka of its own")
    server = GuardedKafka(authority, tmp_path, PASSWORD)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


@pytest.fixture
async def system(
    authority: Authority, postgres: TlsPostgres, kafka: GuardedKafka, tmp_path: Path
) -> AsyncIterator[Installation]:
    guarded = Server(kafka.address("GUARDED"), "guarded", real_kafka=True)
    async with installed(
        tmp_path,
        postgres.url("shop", PASSWORD),
        guarded,
        uuid.uuid4().hex[:12],
        DATABASE_TLS_CA_FILE=str(authority.certificate),
        KAFKA_SECURITY_PROTOCOL="SASL_SSL",
        KAFKA_SASL_USERNAME=USER,
        KAFKA_SASL_PASSWORD=PASSWORD,
        KAFKA_TLS_CA_FILE=str(authority.certificate),
    ) as made:
        yield made


async def ask(system: Installation, api: Role, method: str, path: str, body: object = None) -> str:
    async with system.session.request(
        method, api.url + path, json=body, headers=system.headers
    ) as answer:
        assert answer.status < 300, await answer.text()
        return await answer.text()


async def test_a_customer_is_made_sold_to_and_listed_over_tls(
    system: Installation, postgres: TlsPostgres, kafka: GuardedKafka
) -> None:
    roles = [system.launch(name) for name in ("api", "relay", "projections", "intake")]
    await system.until_ready(*roles)
    api = roles[0]
    jane = {"email": "jane@example.com"}
    customer_id = json.loads(await ask(system, api, "POST", "/user", jane))["id"]
    order = {"orderId": "o1", "orderVersion": 1, "customerId": customer_id, "status": "paid"}
    (system.folder / "orders").write_text(json.dumps({**order, "currency": "USD", "total": 4_200}))
    await system.command("orders", "publish", str(system.folder / "orders"))

    async def is_listed() -> bool:
        models = json.loads(await ask(system, api, "GET", "/user"))["models"]
        return [each["totalSpent"] for each in models] == [4_200]

    await eventually(is_listed)
    published = events_of(await read_topic(kafka.server.address, system.events_topic))
    assert [each.version for each in published] == [1, 2]
    clear = f"{LINKS} WHERE application_name LIKE 'customers-%'"
    assert await postgres.ask(clear) == 0
    assert [line for role in roles for line in role.failures] == []
    assert PASSWORD not in "".join(line for role in roles for line in role.process.said)
