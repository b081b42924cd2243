"""The whole system as operators run it: each role a process, over a database and a Kafka.

Invariant: a role that was started ends with the block of `installed`, whatever a test did to it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL

import aiohttp

from service.embedded.child_process import free_port
from service.master_key import KeySource
from service.vault import Vault
from tests.end_to_end.command import Running, run, running
from tests.servers.server import Server
from tests.support.topics import eventually

READY_TIMEOUT_SECONDS = 40.0
ANSWER_TIMEOUT_SECONDS = 20.0


@dataclass(slots=True)
class Role:
    """One process of ours, at an address that it keeps when it is started again."""

    name: str
    url: str
    process: Running

    def kill(self) -> None:
        self.process.stop(SIGKILL)

    @property
    def is_running(self) -> bool:
        return self.process.process.poll() is None

    def logged(self, text: str) -> list[str]:
        """The lines of its log that hold `text`."""
        return [line for line in self.process.said if text in line]

    @property
    def failures(self) -> list[str]:
        """What it logged as an error; the Kafka client calls many a passing trouble one."""
        return [line for line in self.logged('"level":"error"') if '"logger":"aiokafka' not in line]


@dataclass
class Installation:
    """One database, topics of its own, and roles as a test starts them."""

    folder: Path
    settings: Mapping[str, str]  # names without the prefix
    session: aiohttp.ClientSession
    stack: ExitStack
    token: str = ""
    roles: list[Role] = field(default_factory=list)  # every one that was ever started

    @property
    def database_url(self) -> str:
        return self.settings["DATABASE_URL"]

    @property
    def bootstrap_servers(self) -> str:
        return self.settings["KAFKA_BOOTSTRAP_SERVERS"]

    @property
    def delivers_once(self) -> bool:
        """What the relay does by itself where nothing speaks against it."""
        return self.settings["KAFKA_IDEMPOTENCE"] == "true"

    @property
    def vault(self) -> Vault:
        """Opens what the roles have sealed."""
        key = KeySource(self.folder / "master.key").read()
        assert key is not None, "migrate makes it"
        return Vault(key)

    @property
    def events_topic(self) -> str:
        return f"{self.settings['KAFKA_TOPIC_PREFIX']}customer.events.v1"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def command(self, *arguments: str, release: Path | None = None) -> str:
        """Run an operator's command to its good end; what it printed on stdout."""
        done = await asyncio.to_thread(
            run, self.folder, *arguments, release=release, **self.settings
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    async def start(
        self, *arguments: str, port: int | None = None, release: Path | None = None, **settings: str
    ) -> Role:
        """Start a role, and wait until it is ready."""
        role = self.launch(*arguments, port=port, release=release, **settings)
        await self.until_ready(role)
        return role

    def launch(
        self, *arguments: str, port: int | None = None, release: Path | None = None, **settings: str
    ) -> Role:
        """Start a role, and do not wait. `settings` are more of them, or others; `release` is
        where another release of our code is imported from."""
        port = port or free_port()
        every = {**self.settings, "HTTP_PORT": str(port), **settings}
        process = self.stack.enter_context(
            running(self.folder, *arguments, release=release, **every)
        )
        role = Role(arguments[0], f"http://127.0.0.1:{port}", process)
        self.roles.append(role)
        return role

    async def start_again(self, role: Role, release: Path | None = None) -> Role:
        """Another process at the same address."""
        return await self.start(role.name, port=int(role.url.rpartition(":")[2]), release=release)

    async def until_ready(
        self, *roles: Role, within_seconds: float = READY_TIMEOUT_SECONDS
    ) -> None:
        for role in roles:
            await eventually(lambda: self.is_ready(role), within_seconds)  # noqa: B023

    async def is_ready(self, role: Role) -> bool:
        assert role.is_running, role.process.said
        return (await self.readiness(role))[0] == 200

    async def readiness(self, role: Role) -> tuple[int, str]:
        """The status of /readyz and the word in it; 0 where nobody answers."""
        try:
            async with self.session.get(f"{role.url}/readyz") as answer:
                return answer.status, (await answer.json())["status"]
        except (aiohttp.ClientError, TimeoutError):
            return 0, ""

    async def metric(self, role: Role, name: str) -> float:
        """By its name with its labels; 0 where there is none yet."""
        async with self.session.get(f"{role.url}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        found = [line.rpartition(" ")[2] for line in lines if line.startswith(f"{name} ")]
        return float(found[0]) if found else 0.0


async def ask(
    system: Installation, api: Role, method: str, path: str, body: object = None
) -> dict[str, object]:
    """What the API answers to a request that it has to grant."""
    async with system.session.request(
        method, api.url + path, json=body, headers=system.headers
    ) as answer:
        text = await answer.text()
        assert answer.status < 300, text
        return json.loads(text or "{}")


@asynccontextmanager
async def installed(
    folder: Path, database_url: str, kafka: Server, prefix: str, **more: str
) -> AsyncIterator[Installation]:
    """Migrated, with a token that may do everything in tenant `default`; no role runs yet.

    `more` are settings without the prefix.
    """
    settings = {
        "DATABASE_URL": database_url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka.address,
        "KAFKA_TOPIC_PREFIX": f"{prefix}.",
        "KAFKA_IDEMPOTENCE": str(kafka.real_kafka).lower(),
        **more,
    }
    timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_SECONDS)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        with ExitStack() as stack:
            made = Installation(folder, settings, session, stack)
            await made.command("migrate")
            made.token = await made.command(
                *("token", "create", "--tenant", "default", "--scopes", "admin")
            )
            yield made
