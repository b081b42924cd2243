"""A way to a PostgreSQL that a test can freeze: what is sent then does not arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

CHUNK_BYTES = 65_536
SOCKET_NAME = ".s.PGSQL.5432"


class Passage:
    """Invariant: everything that comes is passed on in order, unless frozen: then it is lost."""

    def __init__(self, target: str, folder: Path) -> None:
        self._target = urlsplit(target)
        self.url = self._url(folder)
        self.is_frozen = False
        self.chunks = 0  # passed on so far
        self._seen = 0

    @classmethod
    @asynccontextmanager
    async def to(cls, target: str, folder: Path) -> AsyncIterator[Passage]:
        """`folder` must have a short path: a socket is made in it."""
        passage = cls(target, folder)
        server = await asyncio.start_unix_server(passage._connect, folder / SOCKET_NAME)
        try:
            yield passage
        finally:
            passage.is_frozen = False
            server.close()

    async def is_used(self) -> bool:
        """Whether anything has passed since this was asked last."""
        seen, self._seen = self._seen, self.chunks
        return self.chunks > seen

    def _url(self, folder: Path) -> str:
        user = self._target.netloc.rpartition("@")[0]
        return f"postgresql://{user}@{self._target.path}?host={quote(str(folder), safe='/')}"

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await self._open()
        with suppress(ConnectionError):
            await asyncio.gather(self._pass_on(reader, back), self._pass_on(there, writer))

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        folder = parse_qs(self._target.query).get("host", [""])[0]
        if folder:
            return await asyncio.open_unix_connection(f"{folder}/{SOCKET_NAME}")
        return await asyncio.open_connection(self._target.hostname, self._target.port or 5432)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                if not self.is_frozen:
                    self.chunks += 1
                    writer.write(chunk)
                    await writer.drain()
        finally:
            writer.close()
