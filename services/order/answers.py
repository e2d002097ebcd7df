"""Redis remembers the answers of finished orders, so that repeats need no database.

Never the authority: a miss, an error or a slow Redis reads PostgreSQL, and what a hit says of another body
is checked there. An answer counts only with the signature of the database that it is from (see `origin`), so one that
was forged, or kept before a restore, is a miss.
"""

import asyncio
import contextlib

import msgspec

from services.common.crash_points import crash_point
from services.common.group_commit import GroupCommit
from services.common.redis import BestEffort, Redis
from services.order.domain import FINAL, Order, fingerprint
from services.order.metrics import CACHE_HITS, CACHE_MISSES, CACHE_REJECTED
from services.order.origin import Origin, Seal

KEPT = 86_400  # seconds


class _Signed(msgspec.Struct, frozen=True):
    """An answer as Redis has it: the order as it was signed, the name of its database, the signature."""

    fingerprint: bytes
    order: msgspec.Raw
    origin: str
    signature: str


class _Answer(msgspec.Struct, frozen=True):
    fingerprint: bytes
    order: Order


_KEEP_ALL = "for i = 1, #KEYS do redis.call('SET', KEYS[i], ARGV[i + 1], 'EX', ARGV[1]) end"
"""Many keys by one command: a pipeline of SETs costs the client ten times as much."""

_decoder = msgspec.json.Decoder(_Signed)
_order_decoder = msgspec.json.Decoder(Order)
_encoder = msgspec.json.Encoder()


class Answers:
    """The answers of finished orders by key. While it is not known which database they are from, there are none."""

    def __init__(self, redis: BestEffort, origin: Origin | None = None) -> None:
        """Without an `origin` they are remembered for this process alone."""
        self._redis = redis
        self._origin = origin or Origin.of_process()
        self._reads = GroupCommit("cache-read", self._read)
        self._writes: GroupCommit[tuple[Seal, _Answer], None] = GroupCommit("cache-write", self._write)

    async def find(self, key: str, wanted: bytes) -> Order | None:
        """Return the finished order that `key` stands for, if Redis knows it with this very body."""
        answer = await self._reads.submit(key) if self._origin.seal else None
        if answer is None or not _stands_for(answer, wanted):
            CACHE_MISSES.inc()
            return None
        CACHE_HITS.inc()
        return answer.order

    def keep(self, order: Order) -> "asyncio.Future[None]":
        """Remember a finished order soon; done once Redis has it, or does without.

        To be called as soon as the database has answered: it is signed for the database that is known now.
        """
        if (seal := self._origin.seal) is None:
            forgotten: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            forgotten.set_result(None)
            return forgotten
        return self._writes.submit((seal, _Answer(fingerprint(order.item_id, order.quantity), order)))

    async def close(self) -> None:
        """Wait until all that is to be remembered is."""
        await self._writes.close()

    async def _read(self, keys: list[str]) -> list[_Answer | None]:
        async def fetch(redis: Redis) -> list[bytes | str | None]:
            return list(await redis.mget([f"idempotency:{key}" for key in keys]))

        nothing: list[bytes | str | None] = [None] * len(keys)
        found = await self._redis(fetch, nothing)
        seal = self._origin.seal
        return [
            None if raw is None or seal is None else _open(raw, seal, key) for key, raw in zip(keys, found, strict=True)
        ]

    async def _write(self, answers: list[tuple[Seal, _Answer]]) -> list[None]:
        keys = [f"idempotency:{answer.order.idempotency_key}" for _, answer in answers]
        values = [_sealed(answer, seal) for seal, answer in answers]

        async def store(redis: Redis) -> None:
            await redis.eval(_KEEP_ALL, len(keys), *keys, KEPT, *values)

        await self._redis(store, None)
        crash_point("after-cache")
        return [None] * len(answers)


def _stands_for(answer: _Answer, wanted: bytes) -> bool:
    """Whether an answer is final and for this very body: what we read back is checked, whoever may have written it."""
    return answer.fingerprint == wanted and answer.order.status in FINAL


def _sealed(answer: _Answer, seal: Seal) -> bytes:
    order = _encoder.encode(answer.order)
    signature = seal.sign(answer.fingerprint, order)
    return _encoder.encode(_Signed(answer.fingerprint, msgspec.Raw(order), seal.origin, signature))


def _open(raw: bytes | str, seal: Seal, key: str) -> _Answer | None:
    """A value that is not ours, not of this version, not signed by this database for this key is a miss."""
    with contextlib.suppress(msgspec.DecodeError, TypeError, ValueError):  # it may be of any type
        signed = _decoder.decode(raw)
        if seal.is_signed(signed.signature, signed.fingerprint, bytes(signed.order)):
            order = _order_decoder.decode(signed.order)
            if order.idempotency_key == key:
                return _Answer(signed.fingerprint, order)
    CACHE_REJECTED.inc()
    return None
