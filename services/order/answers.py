"""Redis remembers the answers of finished orders, so that repeats need no database.

Never the authority: a miss, an error or a slow Redis reads PostgreSQL, and what a hit says of another body
is checked there.
"""

import asyncio

import msgspec

from services.common.crash_points import crash_point
from services.common.group_commit import GroupCommit
from services.common.redis import BestEffort, Redis
from services.order.domain import FINAL, Order, fingerprint
from services.order.metrics import CACHE_HITS, CACHE_MISSES

KEPT = 86_400  # seconds


class _Answer(msgspec.Struct, frozen=True):
    fingerprint: bytes
    order: Order


_KEEP_ALL = "for i = 1, #KEYS do redis.call('SET', KEYS[i], ARGV[i + 1], 'EX', ARGV[1]) end"
"""Many keys by one command: a pipeline of SETs costs the client ten times as much."""

_decoder = msgspec.json.Decoder(_Answer)
_encoder = msgspec.json.Encoder()


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

    def keep(self, order: Order) -> "asyncio.Future[None]":
        """Remember a finished order soon; done once Redis has it, or does without."""
        return self._writes.submit(_Answer(fingerprint(order.item_id, order.quantity), order))

    async def close(self) -> None:
        """Wait until all that is to be remembered is."""
        await self._writes.close()

    async def _read(self, keys: list[str]) -> list[_Answer | None]:
        async def fetch(redis: Redis) -> list[bytes | str | None]:
            return list(await redis.mget([f"idempotency:{key}" for key in keys]))

        nothing: list[bytes | str | None] = [None] * len(keys)
        return [_decode(raw) for raw in await self._redis(fetch, nothing)]

    async def _write(self, answers: list[_Answer]) -> list[None]:
        keys = [f"idempotency:{answer.order.idempotency_key}" for answer in answers]
        values = [_encoder.encode(answer) for answer in answers]

        async def store(redis: Redis) -> None:
            await redis.eval(_KEEP_ALL, len(keys), *keys, KEPT, *values)

        await self._redis(store, None)
        crash_point("after-cache")
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
