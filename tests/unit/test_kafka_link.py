"""What the client library throws, as ours."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka.errors import KafkaConnectionError, UnsupportedCodecError

from service.errors import ConfigurationError, Corrupt, Unavailable
from service.kafka import KafkaConfig
from service.kafka.link import closing, link, our_errors
from service.kafka.topics import _told_settings

SOON_SECONDS = 0.05


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


def test_a_compression_that_nobody_here_can_read_is_not_waited_for() -> None:
    with pytest.raises(ConfigurationError, match=r"compressed .*: no such codec"), our_errors():
        raise UnsupportedCodecError("no such codec")


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


async def fail_to_close() -> None:
    raise KafkaConnectionError


async def hang_instead_of_closing() -> None:
    await asyncio.Event().wait()


CLOSES = pytest.mark.parametrize("close", [fail_to_close, hang_instead_of_closing])


@CLOSES
async def test_what_ended_the_work_is_not_replaced_by_a_close_that_fails(
    close: Callable[[], Awaitable[None]],
) -> None:
    with pytest.raises(Corrupt, match="a hole"):
        async with asyncio.timeout(5.0), closing(close, SOON_SECONDS):
            raise Corrupt("a hole")


@CLOSES
async def test_a_cancellation_stays_one_when_the_close_fails(
    close: Callable[[], Awaitable[None]],
) -> None:
    waiting = asyncio.Event()

    async def works() -> None:
        async with closing(close, SOON_SECONDS):
            waiting.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(works())
    await waiting.wait()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=5.0)
    assert [each.cancelled() for each in done] == [True]


@CLOSES
async def test_a_close_that_fails_after_the_work_is_done_is_nobodys_matter(
    close: Callable[[], Awaitable[None]],
) -> None:
    async with asyncio.timeout(5.0), closing(close, SOON_SECONDS):
        pass


async def test_an_error_in_a_close_that_is_not_the_brokers_is_told() -> None:
    async def close() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        async with closing(close, SOON_SECONDS):
            pass


def test_settings_that_access_rules_hide_are_not_taken_for_none() -> None:
    assert _told_settings({"error_code": 29, "config_entries": []}) is None
    with pytest.raises(Unavailable, match="UnknownTopicOrPartitionError"):
        _told_settings({"error_code": 3, "config_entries": []})
    told = {"config_names": "retention.ms", "config_value": "1"}
    assert _told_settings({"error_code": 0, "config_entries": [told]}) == {"retention.ms": "1"}


def test_a_link_has_no_word_of_its_own_about_sasl() -> None:
    assert link(KafkaConfig("b:1"))["sasl_mechanism"] is None


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
