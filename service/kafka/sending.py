"""What every producer of ours does: start, fill batches and see them written, close or give up.

Invariant: of one partition's records none is sent before those ahead of it are acknowledged, so a
failure leaves no hole; and no error of the client's is left behind for nobody to hear.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol

from service.errors import Unavailable
from service.kafka.link import closing, our_errors
from service.kafka.records import Record

BATCH_BYTES_MAX = 900_000  # below the brokers' default message.max.bytes, 1,048,588
SEND_TIMEOUT_SECONDS = 10.0
STOP_TIMEOUT_SECONDS = 2.0
BACKOFF_MILLISECONDS = 50


class Slot(NamedTuple):
    """One partition of a topic."""

    topic: str
    partition: int


class Sent(NamedTuple):
    offset: int


class Builder(Protocol):
    def append(
        self,
        *,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes]],
    ) -> object | None: ...


class _Sender(Protocol):
    @property
    def sender_task(self) -> asyncio.Task[None] | None: ...


class _Client(Protocol):
    async def close(self) -> None: ...


class Sending(Protocol):
    """The client library's producer, as far as it sends."""

    client: _Client
    _sender: _Sender
    _closed: bool

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def partitions_for(self, topic: str) -> set[int]: ...
    def create_batch(self) -> Builder: ...
    async def send_batch(
        self, batch: Builder, topic: str, *, partition: int
    ) -> asyncio.Future[Sent]: ...


@asynccontextmanager
async def opened(producer: Sending, start: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Start it, and close it when the block ends; after an error, without waiting for anything.

    Raises Unavailable, and errors of ours that `start` raises.
    """
    is_whole = False
    try:
        with our_errors():
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                await start()
        yield
        is_whole = True
    finally:
        await (_close(producer) if is_whole else _abandon(producer))


async def send_all(
    producer: Sending, records: Mapping[Slot, Sequence[Record]]
) -> Mapping[Slot, int]:
    """Send, and wait for all; the offset of the first record in each slot.

    Raises what the client does: any part may then have been written, in each slot a beginning.
    """
    waiting = {slot: list(of_one) for slot, of_one in records.items() if of_one}
    offsets: dict[Slot, int] = {}
    while waiting:
        offsets = await _send_one_batch_each(producer, waiting) | offsets
    return offsets


async def _send_one_batch_each(
    producer: Sending, waiting: dict[Slot, list[Record]]
) -> dict[Slot, int]:
    """Take from `waiting` what fits into one batch of each slot, and see it written."""
    acknowledgements: dict[Slot, asyncio.Future[Sent]] = {}
    for slot in list(waiting):
        builder = producer.create_batch()
        fitted = _fill(builder, waiting[slot])
        rest = waiting.pop(slot)[fitted:]
        if rest:
            waiting[slot] = rest
        sending = await producer.send_batch(builder, slot.topic, partition=slot.partition)
        sending.add_done_callback(heard)  # where the next one cannot be sent, nobody awaits this
        acknowledgements[slot] = sending
    answers = await asyncio.gather(*acknowledgements.values(), return_exceptions=True)
    offsets: dict[Slot, int] = {}
    for slot, answer in zip(acknowledgements, answers, strict=True):
        if isinstance(answer, BaseException):
            raise answer
        offsets[slot] = answer.offset
    return offsets


def heard(future: asyncio.Future[Sent] | asyncio.Future[None]) -> None:
    """Take note of an error that may have nobody to await it; asyncio logs those it finds."""
    if not future.cancelled():
        future.exception()


def _fill(builder: Builder, records: Sequence[Record]) -> int:
    """How many of the records fit. A batch takes its first record whatever its size."""
    append = builder.append
    for number, (key, value, headers, timestamp_ms) in enumerate(records):
        a_list = headers if isinstance(headers, list) else list(headers)  # it takes no other
        if append(timestamp=timestamp_ms, key=key, value=value, headers=a_list) is None:
            return number
    return len(records)


async def _close(producer: Sending) -> None:
    try:
        with our_errors():
            async with asyncio.timeout(STOP_TIMEOUT_SECONDS):
                await producer.stop()
    except Unavailable:
        await _abandon(producer)


async def _abandon(producer: Sending) -> None:
    """Close it without waiting for what was not sent: for that, the client waits for ever."""
    task = producer._sender.sender_task  # noqa: SLF001 - stop() gives no way to give up
    try:
        async with closing(producer.client.close, STOP_TIMEOUT_SECONDS):
            if task is not None:
                task.cancel()
    finally:  # a cancellation of ours comes out of the block above
        if task is not None and not task.done():
            task.cancel()  # the first one lets it wait for what is on its way
            await asyncio.wait([task], timeout=STOP_TIMEOUT_SECONDS)
        producer._closed = True  # noqa: SLF001 - else it warns that nobody closed it
