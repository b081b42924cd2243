"""Servers as children of ours: start one, wait on a condition, end it within a limit.

Invariant: a child never outlives its purpose. It has a session of its own, so that a Ctrl-C in the
terminal reaches us and not it; we end it when our work on it is done. On Linux the kernel also ends
it when we die without having done so, were it by `kill -9`; elsewhere such a child lives on.
"""

import asyncio
import atexit
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from time import monotonic
from typing import IO, Final

KILL_TIMEOUT_SECONDS: Final = 2.0
POLL_SECONDS: Final = 0.01
# Below Linux's range of outgoing ports, so that nothing takes a server's port while it restarts.
PORT_FIRST: Final = 20_000
PORT_LAST: Final = 32_000
PORT_ATTEMPTS_MAX: Final = 100

_reserved: Final = ExitStack()  # of marks on ports, for as long as the process lives; a file each
atexit.register(_reserved.close)

# Runs in the child, before the server: takes its user, asks the kernel for a signal on our death,
# becomes the server. In this order: changing user clears PR_SET_PDEATHSIG (1), execv keeps it.
# A program of its own and no preexec_fn, since Python code between fork and exec may deadlock.
_BECOME: Final = """
import ctypes, os, pwd, sys
death_signal, owner, user, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
if user:
    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid); os.setgid(entry.pw_gid); os.setuid(entry.pw_uid)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, death_signal, 0, 0, 0)
    if os.getppid() != owner:
        sys.exit("the owner has already ended")
os.execv(program[0], program)
"""


def spawn(
    command: Sequence[str],
    *,
    log: IO[bytes],
    death_signal: signal.Signals = signal.SIGKILL,
    user: str = "",
) -> subprocess.Popen[bytes]:
    """Start `command` (its first word a full path) as `user`, or as ours; its output goes to `log`.

    Linux sends `death_signal` when the *thread* that called ends: call on the main thread. The call
    lasts as long as a fork. The child's environment is bare: nothing of ours can configure it.
    """
    return subprocess.Popen(  # noqa: S603 - the callers' own binaries, without a shell
        [*_become(death_signal, user), *command],
        cwd="/",
        env=bare_environment(),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def run(command: Sequence[str], *, timeout_seconds: float, user: str = "") -> None:
    """Run `command` to its end as `spawn` would; CalledProcessError carries what it said."""
    subprocess.run(  # noqa: S603 - as above
        [*_become(signal.SIGKILL, user), *command],
        cwd="/",
        env=bare_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        start_new_session=True,
        timeout=timeout_seconds,
        check=True,
    )


async def end(
    process: subprocess.Popen[bytes], signals: Sequence[signal.Signals], timeout_seconds: float
) -> None:
    """Send `signals` one by one until the child has ended; the first gets `timeout_seconds`."""
    for number in signals:
        if process.poll() is None:
            process.send_signal(number)
            await until(lambda: process.poll() is not None, timeout_seconds)
        timeout_seconds = KILL_TIMEOUT_SECONDS


async def until(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    """Wait until `condition` holds; False when it did not within the limit."""
    deadline = monotonic() + timeout_seconds
    while not condition():
        if monotonic() >= deadline:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True


def last_line(text: str) -> str:
    """What a server said last: the part of its log that fits in one sentence."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "it says nothing"


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody has, and that no other caller is given while we live.

    A port is only a number until its server binds it; meanwhile a second caller, here or in another
    process, could be given the same one. So we keep a socket bound to it that never listens: Linux
    lets a server with SO_REUSEADDR, as they all set, bind beside it, and our next look without
    that option finds the port taken. Elsewhere there may be no such sharing, so no such promise.
    """
    for _ in range(PORT_ATTEMPTS_MAX):
        port = random.randrange(PORT_FIRST, PORT_LAST)  # noqa: S311 - not a secret
        if _reserve(port):
            return port
    raise OSError(f"no free port found between {PORT_FIRST} and {PORT_LAST}")


def _reserve(port: int) -> bool:
    mark = socket.socket()
    try:
        mark.bind(("127.0.0.1", port))
    except OSError:
        mark.close()
        return False
    if sys.platform == "linux":
        mark.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _reserved.enter_context(mark)
    else:
        mark.close()
    return True


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port whose last connections linger in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def accepts(port: int) -> bool:
    """Whether a server takes connections at this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(POLL_SECONDS)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def bare_environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


def _become(death_signal: signal.Signals, user: str) -> list[str]:
    owner = str(os.getpid())
    return [sys.executable, "-I", "-S", "-c", _BECOME, str(int(death_signal)), owner, user]
