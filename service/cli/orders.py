"""`customers orders publish`: puts orders into the topic, as a shop does.

Invariant: a line is published only where the intake would read it; the others are named by their
numbers, without what they say.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from time import time
from typing import BinaryIO

from service.cli.connections import kafka_config
from service.cli.output import Failed, print_json, say
from service.kafka import ConsumedRecord, KafkaConfig, Producer, Record
from service.order_intake import OrderMessage, read_message
from service.settings import Settings

BATCH_LINES_MAX = 1_000
STDIN = "-"

_CONTENT_TYPE = ("content-type", b"application/json")


@dataclass(slots=True)
class _Counts:
    published: int = 0
    refused: int = 0


async def publish_orders(settings: Settings, source: str, *, as_json: bool) -> None:
    """`source` is a file of JSON lines, or `-`. Raises Failed where a line was refused."""
    config = kafka_config(settings, settings.require_kafka_bootstrap_servers())
    config = replace(config, idempotence=False)  # a copy is a repeat, and not every broker can
    counts = _Counts()
    with _opened(source) as lines:
        async with Producer.connect(config) as producer:
            numbered = enumerate(lines, start=1)
            while batch := list(islice(numbered, BATCH_LINES_MAX)):
                await _publish(producer, config, batch, counts)
    say(f"Published {counts.published} orders.")
    if as_json:
        print_json({"published": counts.published, "refused": counts.refused})
    if counts.refused:
        raise Failed(f"Refused {counts.refused} lines.")


async def _publish(
    producer: Producer, config: KafkaConfig, batch: Sequence[tuple[int, bytes]], counts: _Counts
) -> None:
    topic, now_ms = config.orders_topic.name, round(time() * 1_000)
    records: list[Record] = []
    for number, line in batch:
        value = line.strip()
        if not value:
            continue
        message = read_message(ConsumedRecord(topic, 0, number, now_ms, None, value, ()))
        if isinstance(message, OrderMessage):
            records.append(Record(message.order_id.encode(), value, [_CONTENT_TYPE], now_ms))
        else:
            say(f"line {number}: {message.reason} ({message.detail})")
            counts.refused += 1
    await producer.send_keyed(topic, records)
    counts.published += len(records)


@contextmanager
def _opened(source: str) -> Iterator[Iterator[bytes]]:
    """The lines of a file, with progress for a person who watches. Raises Failed."""
    if source == STDIN:
        yield iter(sys.stdin.buffer)
        return
    try:
        with Path(source).open("rb") as file:
            yield _shown(file) if sys.stderr.isatty() else iter(file)
    except OSError as error:
        raise Failed(f"{source} cannot be read: {error.strerror}.") from error


def _shown(file: BinaryIO) -> Iterator[bytes]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("Publishing", total=os.fstat(file.fileno()).st_size)
        for line in file:
            progress.advance(task, len(line))
            yield line
