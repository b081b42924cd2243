"""What provisioning asks a broker: whether it serves, and which cluster it is."""

import asyncio
from time import monotonic
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

REQUEST_TIMEOUT_MILLISECONDS: Final = 5_000
POLL_SECONDS: Final = 0.02


async def cluster_id(address: str) -> str | None:
    """The id of the cluster behind `address`; None while none of its brokers serves."""
    admin = AIOKafkaAdminClient(
        bootstrap_servers=address, request_timeout_ms=REQUEST_TIMEOUT_MILLISECONDS
    )
    try:
        await admin.start()
        described = await admin.describe_cluster()
    except (KafkaError, OSError):
        return None
    finally:
        await admin.close()
    return str(described["cluster_id"]) if described["brokers"] else None


async def is_ready(address: str, timeout_seconds: float) -> bool:
    """Wait until a broker serves; False when none did within the limit."""
    host, _, port = address.rpartition(":")
    deadline = monotonic() + timeout_seconds
    while monotonic() < deadline:
        # A connection first: the client logs an error for every refused one.
        if await _accepts(host, int(port)) and await cluster_id(address) is not None:
            return True
        await asyncio.sleep(POLL_SECONDS)
    return False


async def _accepts(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
