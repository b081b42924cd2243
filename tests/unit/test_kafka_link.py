"""What the client library throws, as ours."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka.errors import KafkaConnectionError

from service.errors import ConfigurationError, Unavailable
from service.kafka import KafkaConfig
from service.kafka.link import link, our_errors


@pytest.mark.parametrize(
    "thrown", [KafkaConnectionError(), TimeoutError(), OSError(), asyncio.CancelledError()]
)
def test_a_broken_link_is_unavailable(thrown: BaseException) -> None:
    async def breaks() -> None:
        with our_errors():
            raise thrown

    with pytest.raises(Unavailable) as caught:
        asyncio.run(breaks())
    assert caught.value.code == "broker_unavailable"


async def test_a_cancellation_that_was_asked_for_stays_one() -> None:
    waiting = asyncio.Event()

    async def waits() -> None:
        with our_errors():
            waiting.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(waits())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_certificate_that_cannot_be_used_is_said_at_once() -> None:
    config = KafkaConfig("b:1", security_protocol="SSL", ca_file=Path("missing.pem"))
    with pytest.raises(ConfigurationError, match="certificate"):
        link(config)


def test_no_secret_shows() -> None:
    assert "hunter2" not in repr(KafkaConfig("b:1", sasl_password="hunter2"))


async def test_a_cancellation_that_the_client_ate_is_not_lost() -> None:
    """As aiokafka does while it closes a consumer."""
    began = asyncio.Event()

    async def close() -> None:
        with suppress(asyncio.CancelledError):
            began.set()
            await asyncio.Event().wait()

    async def work_for_ever() -> None:
        while True:
            with our_errors():
                await close()
            await asyncio.Event().wait()

    working = asyncio.create_task(work_for_ever())
    await began.wait()
    working.cancel()
    _, pending = await asyncio.wait([working], timeout=5)
    working.cancel()
    assert not pending
    assert working.cancelled()
