"""Wake-ups: a Redis stream that notifies workers of queued orders before the sweeper finds them.

The rows are the queue. A lost, duplicate or late wake-up costs at most the sweeper's interval.
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
MAX_ENTRIES = 10_000  # approximately; the rows contain the same
BLOCK_MS = 2_000
READ_TIMEOUT = 3.0  # seconds without a reply until the connection counts as dead; longer than the block
MAX_WAKEUP_DELAY = 3600  # seconds
STALE_MS = 30_000  # an entry that its reader has not acknowledged for this long is taken over


class WakeUp(msgspec.Struct, frozen=True):
    """One stream entry: an order that becomes due in `delay` seconds."""

    entry: bytes
    order_id: uuid.UUID
    delay: float


async def notify(redis: BestEffort, queued: list[tuple[uuid.UUID, float]]) -> list[None]:
    """Notify workers of queued orders, each with the seconds until it is due. Uses one connection."""

    async def add(client: Redis) -> None:
        async with client.pipeline(transaction=False) as pipe:
            for order_id, delay in queued:
                pipe.xadd(STREAM, {"order_id": str(order_id), "delay": delay}, maxlen=MAX_ENTRIES, approximate=True)
            await pipe.execute()

    await redis(add, None)
    return [None] * len(queued)


class Reader:
    """One worker's consumer in the group. The client's timeout must be longer than BLOCK_MS."""

    def __init__(self, redis: Redis, consumer: str) -> None:
        self._redis = redis
        self._consumer = consumer

    async def read(self) -> AsyncIterator[list[WakeUp]]:
        """Yield new wake-ups, and those that dead workers left unacknowledged.

        Yields an empty list after BLOCK_MS without any. Raises the errors of Redis.
        """
        await self._ensure_group()
        while True:
            taken: Any = await self._redis.xautoclaim(STREAM, GROUP, self._consumer, STALE_MS, count=256)
            if entries := [entry for entry in taken[1] if entry[1]]:
                yield await self._decode(entries)
            streams: Any = await self._redis.xreadgroup(GROUP, self._consumer, {STREAM: ">"}, count=256, block=BLOCK_MS)
            yield await self._decode([entry for _, entries in streams or [] for entry in entries])

    async def acknowledge(self, wake_ups: list[WakeUp]) -> None:
        """Acknowledge wake-ups, best effort: acknowledging twice or never has no effect on orders."""
        try:
            await self._redis.xack(STREAM, GROUP, *(wake_up.entry for wake_up in wake_ups))
        except FAILURES as error:
            log.warning("cannot acknowledge wake-ups", error=repr(error))

    async def _decode(self, entries: list[Entry]) -> list[WakeUp]:
        """Decode entries, and acknowledge malformed ones, which would otherwise be delivered for ever."""
        decoded = {entry: _decode_entry(entry, fields) for entry, fields in entries}
        if malformed := [entry for entry, wake_up in decoded.items() if wake_up is None]:
            log.warning("malformed wake-ups discarded", entries=len(malformed))
            await self._redis.xack(STREAM, GROUP, *malformed)
        return [wake_up for wake_up in decoded.values() if wake_up is not None]

    async def _ensure_group(self) -> None:
        try:
            await self._redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise


def _decode_entry(entry: bytes, fields: dict[bytes, bytes]) -> WakeUp | None:
    try:
        wake_up = WakeUp(entry, uuid.UUID(fields[b"order_id"].decode()), float(fields[b"delay"]))
    except (KeyError, ValueError):
        return None
    return wake_up if 0 <= wake_up.delay <= MAX_WAKEUP_DELAY else None
