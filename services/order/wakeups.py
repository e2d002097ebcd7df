"""A Redis stream that tells workers of a queued order sooner than they would find it themselves.

The row is the queue. An entry that is lost, doubled or late costs at most the sweeper's next look.
"""

import uuid
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import msgspec
import structlog
from redis.exceptions import ResponseError

from services.common.redis import FAILURES, BestEffort, Redis

log = structlog.get_logger()

Entry: TypeAlias = tuple[bytes, dict[bytes, bytes]]

STREAM = "orders:wakeups"
GROUP = "workers"
KEEP = 10_000  # entries, about: more would only repeat what the rows say
BLOCK_MS = 2_000
READ_LIMIT = 3.0  # seconds until a reader that hears nothing knows that its connection is dead: longer than the block
LONGEST = 3600  # seconds that a wake-up may lie ahead
STALE_MS = 30_000  # an entry read by a worker that has not acknowledged it for so long is taken over


class WakeUp(msgspec.Struct, frozen=True):
    """One entry: an order that becomes due in `delay` seconds."""

    entry: bytes
    order_id: uuid.UUID
    delay: float


async def announce(redis: BestEffort, queued: list[tuple[uuid.UUID, float]]) -> list[None]:
    """Tell workers of orders that become due in so many seconds: on one connection, however many there are."""

    async def add(client: Redis) -> None:
        async with client.pipeline(transaction=False) as pipe:
            for order_id, delay in queued:
                pipe.xadd(STREAM, {"order_id": str(order_id), "delay": delay}, maxlen=KEEP, approximate=True)
            await pipe.execute()

    await redis(add, None)
    return [None] * len(queued)


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
                yield await self._decode(entries)
            streams: Any = await self._redis.xreadgroup(GROUP, self._consumer, {STREAM: ">"}, count=256, block=BLOCK_MS)
            yield await self._decode([entry for _, entries in streams or [] for entry in entries])

    async def acknowledge(self, wake_ups: list[WakeUp]) -> None:
        """Best effort: an entry acknowledged twice or never changes nothing."""
        try:
            await self._redis.xack(STREAM, GROUP, *(wake_up.entry for wake_up in wake_ups))
        except FAILURES as error:
            log.warning("wake-ups not acknowledged", error=repr(error))

    async def _decode(self, entries: list[Entry]) -> list[WakeUp]:
        """Read entries, and get rid of those that nobody can read: they would come back for ever."""
        read = {entry: _read(entry, fields) for entry, fields in entries}
        if strange := [entry for entry, wake_up in read.items() if wake_up is None]:
            log.warning("wake-ups that are none", entries=len(strange))
            await self._redis.xack(STREAM, GROUP, *strange)
        return [wake_up for wake_up in read.values() if wake_up is not None]

    async def _join(self) -> None:
        try:
            await self._redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise


def _read(entry: bytes, fields: dict[bytes, bytes]) -> WakeUp | None:
    try:
        wake_up = WakeUp(entry, uuid.UUID(fields[b"order_id"].decode()), float(fields[b"delay"]))
    except (KeyError, ValueError):
        return None
    return wake_up if 0 <= wake_up.delay <= LONGEST else None
