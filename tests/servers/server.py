"""What a running server is to a test: its address, what it is, and how to end it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


class ServerUnavailable(Exception):
    """A server that was chosen cannot serve; its text says why."""


@dataclass(frozen=True, slots=True)
class Server:
    """`kind` is for the header and the summary; `real_kafka` means transactions and compaction."""

    address: str
    kind: str
    real_kafka: bool = False


class Handle(Protocol):
    @property
    def server(self) -> Server: ...

    async def stop(self) -> None: ...


@runtime_checkable
class Controllable(Protocol):
    """A server that a test may break: its address and its data outlive `kill` and `restart`."""

    @property
    def server(self) -> Server: ...

    async def stop(self) -> None: ...

    async def kill(self) -> None:
        """End it with SIGKILL."""

    async def restart(self) -> None:
        """Start it at the same address, after stopping it where it runs."""

    def pause(self) -> None:
        """Its processes stand still, and nobody is told (SIGSTOP)."""

    def wake(self) -> None:
        """After `pause`; harmless otherwise."""


@runtime_checkable
class Wipeable(Controllable, Protocol):
    async def wipe(self) -> None:
        """Stop it, erase its data, start it at the same address."""


@dataclass(frozen=True, slots=True)
class GivenServer:
    """Somebody else's server: never stopped by us."""

    server: Server

    async def stop(self) -> None:
        return


@dataclass(frozen=True, slots=True)
class ContainerServer:
    server: Server
    remove: Callable[[], None]

    async def stop(self) -> None:
        await asyncio.to_thread(self.remove)


def first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
