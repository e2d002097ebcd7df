"""Caches finished orders in Redis, so that replays do not read the database.

The cache is never authoritative: on a miss, an error or a timeout, and for a mutated replay, PostgreSQL is read. An
entry is valid only with the signature of the database it came from (see `origin`), so an entry that was forged, or
written before a restore, is a miss.
"""

import asyncio
import contextlib

import msgspec

from services.common.crash_points import crash_point
from services.common.group_commit import GroupCommit
from services.common.redis import BestEffort, Redis
from services.order.domain import FINAL, Order
from services.order.domain import fingerprint as fingerprint_of
from services.order.metrics import CACHE_HITS, CACHE_MISSES, CACHE_REJECTED
from services.order.origin import Origin, Seal

TTL_SECONDS = 86_400


class _SignedResponse(msgspec.Struct, frozen=True):
    """A cache entry as stored: the encoded order that was signed, the name of its database, the signature."""

    fingerprint: bytes
    order: msgspec.Raw
    origin: str
    signature: str


class _CachedResponse(msgspec.Struct, frozen=True):
    fingerprint: bytes
    order: Order


_SET_ALL = "for i = 1, #KEYS do redis.call('SET', KEYS[i], ARGV[i + 1], 'EX', ARGV[1]) end"
"""Sets many keys with one command; a pipeline of SETs costs the client ten times as much CPU time."""

_decoder = msgspec.json.Decoder(_SignedResponse)
_order_decoder = msgspec.json.Decoder(Order)
_encoder = msgspec.json.Encoder()


class ResponseCache:
    """Finished orders by idempotency key. Every lookup misses while the database's identity is unknown."""

    def __init__(self, redis: BestEffort, origin: Origin | None = None) -> None:
        """Without an `origin`, entries are valid in this process only."""
        self._redis = redis
        self._origin = origin or Origin.of_process()
        self._reads = GroupCommit("cache-read", self._read)
        self._writes: GroupCommit[tuple[Seal, _CachedResponse], None] = GroupCommit("cache-write", self._write)

    async def get(self, key: str, fingerprint: bytes) -> Order | None:
        """Return the finished order of `key` if it is cached with this fingerprint."""
        cached = await self._reads.submit(key) if self._origin.seal else None
        if cached is None or not _matches(cached, fingerprint):
            CACHE_MISSES.inc()
            return None
        CACHE_HITS.inc()
        return cached.order

    def put(self, order: Order) -> "asyncio.Future[None]":
        """Cache a finished order. The future is done once it is stored, or storing it has failed.

        Call it as soon as the database has responded: the entry is signed for the database that is known now.
        """
        if (seal := self._origin.seal) is None:
            skipped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            skipped.set_result(None)
            return skipped
        return self._writes.submit((seal, _CachedResponse(fingerprint_of(order.item_id, order.quantity), order)))

    async def close(self) -> None:
        """Wait until all pending writes are done."""
        await self._writes.close()

    async def _read(self, keys: list[str]) -> list[_CachedResponse | None]:
        async def fetch(redis: Redis) -> list[bytes | str | None]:
            return list(await redis.mget([f"idempotency:{key}" for key in keys]))

        nothing: list[bytes | str | None] = [None] * len(keys)
        found = await self._redis(fetch, nothing)
        seal = self._origin.seal
        return [
            None if raw is None or seal is None else _decode_verified(raw, seal, key)
            for key, raw in zip(keys, found, strict=True)
        ]

    async def _write(self, entries: list[tuple[Seal, _CachedResponse]]) -> list[None]:
        keys = [f"idempotency:{entry.order.idempotency_key}" for _, entry in entries]
        values = [_encode_signed(entry, seal) for seal, entry in entries]

        async def store(redis: Redis) -> None:
            await redis.eval(_SET_ALL, len(keys), *keys, TTL_SECONDS, *values)

        await self._redis(store, None)
        crash_point("after-cache")
        return [None] * len(entries)


def _matches(cached: _CachedResponse, fingerprint: bytes) -> bool:
    """Return whether an entry is final and for this fingerprint. Checked on reads, since others may have written it."""
    return cached.fingerprint == fingerprint and cached.order.status in FINAL


def _encode_signed(entry: _CachedResponse, seal: Seal) -> bytes:
    order = _encoder.encode(entry.order)
    signature = seal.sign(entry.fingerprint, order)
    return _encoder.encode(_SignedResponse(entry.fingerprint, msgspec.Raw(order), seal.origin, signature))


def _decode_verified(raw: bytes | str, seal: Seal, key: str) -> _CachedResponse | None:
    """Decode an entry; None unless it is of this version and signed by this database for this key."""
    with contextlib.suppress(msgspec.DecodeError, TypeError, ValueError):  # the entry may be of any type
        signed = _decoder.decode(raw)
        if seal.is_signed(signed.signature, signed.fingerprint, bytes(signed.order)):
            order = _order_decoder.decode(signed.order)
            if order.idempotency_key == key:
                return _CachedResponse(signed.fingerprint, order)
    CACHE_REJECTED.inc()
    return None
