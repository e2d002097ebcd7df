"""Redis remembers the answers of finished orders, so that repeats need no database.

Never the authority: a miss, an error or a slow Redis reads PostgreSQL, and what a hit says of another body
is checked there.
"""

import msgspec

from services.common.group_commit import GroupCommit
from services.common.redis import BestEffort, Redis
from services.order.domain import FINAL, Order, fingerprint
from services.order.metrics import CACHE_HITS, CACHE_MISSES

KEPT = 86_400  # seconds


class _Answer(msgspec.Struct, frozen=True):
    fingerprint: bytes
    order: Order


_decoder = msgspec.json.Decoder(_Answer)


class Answers:
    """The answers of finished orders by key."""

    def __init__(self, redis: BestEffort) -> None:
        self._redis = redis
        self._reads = GroupCommit("cache-read", self._read)
        self._writes = GroupCommit("cache-write", self._write)

    async def find(self, key: str, wanted: bytes) -> Order | None:
        """Return the finished order that `key` stands for, if Redis knows it with this very body."""
        answer = await self._reads.submit(key)
        if answer is None or not _stands_for(answer, key, wanted):
            CACHE_MISSES.inc()
            return None
        CACHE_HITS.inc()
        return answer.order

    async def keep(self, order: Order) -> None:
        await self._writes.submit(_Answer(fingerprint(order.item_id, order.quantity), order))

    async def close(self) -> None:
        await self._writes.close()

    async def _read(self, keys: list[str]) -> list[_Answer | None]:
        async def fetch(redis: Redis) -> list[bytes | str | None]:
            return list(await redis.mget([f"idempotency:{key}" for key in keys]))

        nothing: list[bytes | str | None] = [None] * len(keys)
        return [_decode(raw) for raw in await self._redis(fetch, nothing)]

    async def _write(self, answers: list[_Answer]) -> list[None]:
        async def store(redis: Redis) -> None:
            async with redis.pipeline(transaction=False) as pipe:
                for answer in answers:
                    pipe.set(f"idempotency:{answer.order.idempotency_key}", msgspec.json.encode(answer), ex=KEPT)
                await pipe.execute()

        await self._redis(store, None)
        return [None] * len(answers)


def _stands_for(answer: _Answer, key: str, wanted: bytes) -> bool:
    """Whether an answer is this key's and final: what we read back is checked, whoever may have written it."""
    order = answer.order
    return answer.fingerprint == wanted and order.idempotency_key == key and order.status in FINAL


def _decode(raw: bytes | str | None) -> _Answer | None:
    """A value that is not ours, or not of this version, is a miss."""
    try:
        return None if raw is None else _decoder.decode(raw)
    except msgspec.DecodeError:
        return None
