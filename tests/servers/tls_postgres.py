"""A PostgreSQL that asks for TLS: from the system's programs, for the embedded ones have none.

Invariant: over TCP it lets in nobody without TLS; what it needs lies in a folder that ends with it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from time import monotonic
from typing import Final

import asyncpg

from service.embedded.child_process import end, free_port, last_line, run, spawn, until
from tests.servers.server import ServerUnavailable

SYSTEM_FOLDERS: Final = ("/usr/lib/postgresql", "/usr/pgsql", "/opt/homebrew/opt", "/usr/local/opt")
SYSTEM_USER: Final = "postgres"  # of the package that brings the programs
INITDB_TIMEOUT_SECONDS: Final = 60.0
START_TIMEOUT_SECONDS: Final = 30.0
STOP_TIMEOUT_SECONDS: Final = 10.0
CONNECT_TIMEOUT_SECONDS: Final = 10.0
# Who logs in as `certified` proves it by a certificate, everybody else by a password.
RULES: Final = """
local all postgres trust
hostssl all certified 127.0.0.1/32 cert
hostssl all all 127.0.0.1/32 scram-sha-256
"""


def system_programs() -> Path | None:
    """The folder of an installed server's programs: the newest one."""
    found = [path for folder in SYSTEM_FOLDERS for path in Path(folder).glob("*/bin/initdb")]
    if (on_path := shutil.which("initdb")) is not None:
        found.append(Path(on_path))
    return max(found).parent if found else None


class TlsPostgres:
    """`certificate` and `key` are what it shows, `authority` signs whom it lets in."""

    def __init__(self, programs: Path, certificate: Path, key: Path, authority: Path) -> None:
        self._programs = programs
        self._files = {"ssl_cert_file": certificate, "ssl_key_file": key, "ssl_ca_file": authority}
        self._directory = Path(tempfile.mkdtemp(prefix="customers-test-tls-"))
        self._user = SYSTEM_USER if os.geteuid() == 0 else ""
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def socket_url(self) -> str:
        """A superuser's, without TLS and password."""
        return f"postgresql://postgres@/postgres?host={self._directory}&port={self.port}"

    def url(self, user: str, password: str = "", *, host: str = "localhost") -> str:
        """Of a user over TCP; `sslmode` is for the caller to add."""
        return f"postgresql://{user}:{password}@{host}:{self.port}/postgres"

    async def start(self) -> None:
        cluster = self._directory / "cluster"
        settings = {"listen_addresses": "127.0.0.1", "port": str(self.port), "fsync": "off"}
        settings |= {"unix_socket_directories": str(self._directory)}
        for name, file in self._files.items():
            settings[name] = str(shutil.copy(file, self._directory / name))
        self._give()
        initdb = [str(self._programs / "initdb"), "-D", str(cluster), "-U", "postgres"]
        try:
            run([*initdb, "-E", "UTF8"], timeout_seconds=INITDB_TIMEOUT_SECONDS, user=self._user)
        except subprocess.CalledProcessError as error:
            raise ServerUnavailable(last_line(str(error.stderr, errors="replace"))) from error
        (cluster / "pg_hba.conf").write_text(RULES)
        with (cluster / "postgresql.conf").open("a") as more:
            more.write("ssl = on\n")  # here, for what a command line says cannot be changed
        words = [f"--{name}={value}" for name, value in settings.items()]
        log = self._directory / "log"
        with log.open("wb") as output:
            command = [str(self._programs / "postgres"), "-D", str(cluster), *words]
            self._process = spawn(command, log=output, death_signal=signal.SIGINT, user=self._user)
        if not await until(self._is_ready, START_TIMEOUT_SECONDS):
            raise ServerUnavailable(last_line(log.read_text(errors="replace")))

    async def execute(self, statement: str) -> None:
        """As the superuser; one statement or several."""
        connection = await asyncpg.connect(self.socket_url, timeout=CONNECT_TIMEOUT_SECONDS)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def ask(self, question: str) -> object:
        connection = await asyncpg.connect(self.socket_url, timeout=CONNECT_TIMEOUT_SECONDS)
        try:
            return await connection.fetchval(question)
        finally:
            await connection.close()

    async def switch_tls(self, state: str) -> None:
        """`on` or `off`; once this returns, new connections meet it."""
        await self.ask(f"ALTER SYSTEM SET ssl = {state}")
        await self.ask("SELECT pg_reload_conf()")
        deadline = monotonic() + START_TIMEOUT_SECONDS
        while await self.ask("SHOW ssl") != state:
            assert monotonic() < deadline, f"ssl does not become {state}"

    async def stop(self) -> None:
        if self._process is not None:
            signals = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)
            await end(self._process, signals, STOP_TIMEOUT_SECONDS)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _is_ready(self) -> bool:
        """The last word of the pid file tells the server's state."""
        try:
            words = (self._directory / "cluster" / "postmaster.pid").read_text().split()
        except FileNotFoundError:
            return False
        return bool(words) and words[-1] == "ready"

    def _give(self) -> None:
        """To the server's user, who alone may read the key."""
        if self._user:
            entry = pwd.getpwnam(self._user)
            for path in (self._directory, *self._directory.iterdir()):
                os.chown(path, entry.pw_uid, entry.pw_gid)
