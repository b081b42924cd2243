"""A PostgreSQL 18 in a process of its own, for a system that needs no other server.

Invariant: one folder, one owner. An owner holds the folder's lock for as long as it lives; whatever
a killed owner left behind (a running server, a stale pid file) the next start clears.

Calls PostgreSQL's programs and not the package's Python, which polls in steps of a second under one
lock for the whole machine.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import IO, Final
from urllib.parse import quote

from service.embedded.child_process import end, last_line, spawn, until
from service.embedded.cluster import (
    ensure_cluster,
    find_binaries,
    find_server_user,
    give,
    lock,
)
from service.embedded.errors import EmbeddedError

POSTGRES_START_TIMEOUT_SECONDS: Final = 60.0  # room for crash recovery; a warm start takes 0.1 s
POSTGRES_STOP_TIMEOUT_SECONDS: Final = 5.0  # with KILL_TIMEOUT_SECONDS twice, still below 10
RETRY_SECONDS: Final = 0.02
# sockaddr_un.sun_path holds 104 bytes on macOS and 108 on Linux, with the closing zero.
SOCKET_PATH_BYTES_MAX: Final = 103
SOCKET_NAME: Final = ".s.PGSQL.5432"
SHARED_MEMORY_BUSY: Final = "shared memory block"  # a killed server's children are still ending


class EmbeddedPostgres:
    """PostgreSQL 18 in `directory`, listening on a unix socket only, with fsync on.

    `directory` gets `cluster/` (the data), `owner.lock`, `postgres.log` (of the last start) and
    `socket/`; where that path is too long for a socket, a short temporary folder takes its place.
    `settings` are further PostgreSQL settings; they win over ours.

    PostgreSQL refuses to run as root. Started by root it runs as the user `pgserver` (made when
    missing), who must be able to reach the data: every PARENT folder of `directory` that others
    cannot traverse gets the mode `o+x`. So choose one whose parents may have it: the project's or
    one in /var/lib, not one in /root.
    """

    def __init__(
        self,
        directory: Path,
        *,
        shared_buffers: str = "128MB",
        max_connections: int = 200,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._directory = directory.expanduser().resolve()
        self._cluster = self._directory / "cluster"
        self._log = self._directory / "postgres.log"
        self._settings = {
            "listen_addresses": "",
            "max_connections": str(max_connections),
            "shared_buffers": shared_buffers,
            "timezone": "UTC",
            "log_timezone": "UTC",
            **(settings or {}),
        }
        self._lock: IO[str] | None = None
        self._socket: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process_id(self) -> int:
        if self._process is None:
            raise EmbeddedError("The embedded PostgreSQL is not started.")
        return self._process.pid

    def dsn(self, database: str = "postgres") -> str:
        """The address of `database` in this server, from start to stop."""
        if self._socket is None:
            raise EmbeddedError("The embedded PostgreSQL is not started.")
        return f"postgresql://postgres@/{quote(database)}?host={quote(str(self._socket), safe='/')}"

    async def start(self) -> str:
        """Start, and answer the DSN once the server takes connections; EmbeddedError says why not.

        Call it on a thread that lives as long as the server does: the main one (see `spawn`).
        """
        if self._process is not None:
            raise EmbeddedError("The embedded PostgreSQL is already started.")
        started = False
        try:
            binaries, user, folder = await asyncio.to_thread(self._prepare)
            await self._end_orphan()
            await self._launch([str(binaries / "postgres"), *self._options(folder)], user)
            started = True
        finally:
            if not started:
                await self.stop()
        return self.dsn()

    async def stop(self) -> None:
        """Stop with a checkpoint; at the limit without, the log replays. Harmless when stopped."""
        process, self._process = self._process, None
        try:
            if process is not None:
                # SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one.
                signals = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)
                await end(process, signals, POSTGRES_STOP_TIMEOUT_SECONDS)
        finally:
            self._release()

    def _prepare(self) -> tuple[Path, str, Path]:
        """Own the folder and make what is missing; answers the programs, the user, the socket's."""
        binaries = find_binaries()
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._lock = lock(self._directory)
            user = find_server_user(self._directory, binaries)
            ensure_cluster(self._directory, binaries, user)
            self._socket = self._make_socket_folder(user)
        except OSError as error:
            raise EmbeddedError(
                f"The data folder {self._directory} cannot be used: {error.strerror or error}."
            ) from error
        return binaries, user, self._socket

    def _make_socket_folder(self, user: str) -> Path:
        """A folder that only the server's user and root enter: the server trusts who connects."""
        folder = self._directory / "socket"
        if len(os.fsencode(folder / SOCKET_NAME)) > SOCKET_PATH_BYTES_MAX:
            folder = Path(tempfile.mkdtemp(prefix="customers-"))
        folder.mkdir(exist_ok=True)
        folder.chmod(0o700)
        give(folder, user)
        return folder

    def _options(self, socket_folder: Path) -> list[str]:
        settings = {**self._settings, "unix_socket_directories": f'"{socket_folder}"'}
        pairs = [f"--{name}={value}" for name, value in settings.items()]
        return ["-D", str(self._cluster), "-p", "5432", *pairs]

    async def _end_orphan(self) -> None:
        """Stop the server that a killed owner left running: we hold its folder's lock now."""
        pid_file = self._cluster / "postmaster.pid"
        pid = _read_pid(pid_file)
        if pid is None:
            return
        if str(self._cluster) in _command_of(pid):
            os.kill(pid, signal.SIGINT)
            if not await until(lambda: not _command_of(pid), POSTGRES_STOP_TIMEOUT_SECONDS):
                raise EmbeddedError(
                    f"A PostgreSQL server left in {self._directory} (process {pid}) does not stop."
                )
        elif "postgres" not in _command_of(pid):
            # The number is another program's now, and PostgreSQL would take that for a server.
            pid_file.unlink(missing_ok=True)

    async def _launch(self, command: Sequence[str], user: str) -> None:
        deadline = monotonic() + POSTGRES_START_TIMEOUT_SECONDS
        while True:
            # SIGINT on our death: even then PostgreSQL shuts down with a checkpoint.
            self._process = self._spawn(command, user)
            await until(lambda: self._is_ready() or self._has_ended(), deadline - monotonic())
            if self._is_ready() and not self._has_ended():
                return
            said = await asyncio.to_thread(self._log.read_text, errors="replace")
            if SHARED_MEMORY_BUSY not in said or monotonic() > deadline:
                raise EmbeddedError(
                    f"The embedded PostgreSQL did not start in {self._directory}: {last_line(said)}"
                )
            await asyncio.sleep(RETRY_SECONDS)

    def _spawn(self, command: Sequence[str], user: str) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            return spawn(command, log=log, death_signal=signal.SIGINT, user=user)

    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _is_ready(self) -> bool:
        """The pid file's first word tells whose it is, its last the server's state."""
        try:
            words = (self._cluster / "postmaster.pid").read_text().split()
        except FileNotFoundError:
            return False
        return bool(words) and words[0] == str(self.process_id) and words[-1] == "ready"

    def _release(self) -> None:
        if self._socket is not None and self._socket.parent != self._directory:
            shutil.rmtree(self._socket, ignore_errors=True)
        self._socket = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _read_pid(pid_file: Path) -> int | None:
    try:
        return int(pid_file.read_text().split(maxsplit=1)[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None


def _command_of(pid: int) -> str:
    """The command line of a running process; empty when there is none, or only its remains."""
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return ""
    ps = ["/bin/ps", "-o", "command=", "-p", str(pid)]
    return subprocess.run(ps, capture_output=True, check=False, text=True).stdout.strip()  # noqa: S603
