"""A Redis stream that tells workers of a queued order sooner than they would find it themselves.

The row is the queue. An entry that is lost, doubled or late costs at most the sweeper's next look.
"""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import structlog
from redis.exceptions import ResponseError

from services.common.redis import FAILURES, BestEffort, Redis

log = structlog.get_logger()

STREAM = "orders:wakeups"
GROUP = "workers"
KEEP = 10_000  # entries, about: more would only repeat what the rows say
BLOCK_MS = 2_000
STALE_MS = 30_000  # an entry read by a worker that has not acknowledged it for so long is taken over


class WakeUp(msgspec.Struct, frozen=True):
    """One entry: an order that becomes due in `delay` seconds."""

    entry: bytes
    order_id: uuid.UUID
    delay: float


async def announce(redis: BestEffort, order_id: uuid.UUID, delay: float) -> None:
    async def add(client: Redis) -> None:
        await client.xadd(STREAM, {"order_id": str(order_id), "delay": delay}, maxlen=KEEP, approximate=True)

    await redis(add, None)


class Reader:
    """One worker's place in the consumer group. The client's time limit must be longer than the block."""

    def __init__(self, redis: Redis, consumer: str) -> None:
        self._redis = redis
        self._consumer = consumer

    async def batches(self) -> AsyncIterator[list[WakeUp]]:
        """Yield what arrives, and what dead workers left unacknowledged; an empty list when all is quiet.

        Raises what Redis raises.
        """
        await self._join()
        while True:
            taken: Any = await self._redis.xautoclaim(STREAM, GROUP, self._consumer, STALE_MS, count=256)
            if entries := [entry for entry in taken[1] if entry[1]]:
                yield _decode(entries)
            streams: Any = await self._redis.xreadgroup(GROUP, self._consumer, {STREAM: ">"}, count=256, block=BLOCK_MS)
            yield _decode([entry for _, entries in streams or [] for entry in entries])

    async def acknowledge(self, wake_ups: list[WakeUp]) -> None:
        """Best effort: an entry acknowledged twice or never changes nothing."""
        try:
            await self._redis.xack(STREAM, GROUP, *(wake_up.entry for wake_up in wake_ups))
        except FAILURES as error:
            log.warning("wake-ups not acknowledged", error=repr(error))

    async def _join(self) -> None:
        try:
            await self._redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise


def _decode(entries: list[tuple[bytes, dict[bytes, bytes]]]) -> list[WakeUp]:
    return [
        WakeUp(entry, uuid.UUID(fields[b"order_id"].decode()), float(fields[b"delay"])) for entry, fields in entries
    ]
