"""Revoked operator sessions and used sign-in codes.

Each replica keeps them in memory, and requests read only that. Replicas sync once a second through a sorted set in
Redis. Entries are only added and expire, so merges in any order have the same result.

Redis may lose its data at any time, and that must not revive a session. A session therefore names the generation of the
process that created it, and generations are entries too: a replica that knows a generation has read, in the same
transaction, all revocations up to then. A session of an unknown generation is not accepted.
"""

import secrets
import time
from collections.abc import Callable
from typing import Any

from redis.exceptions import ResponseError

from services.common.redis import BestEffort, Redis

KEY = "dashboard:revocations"
RETENTION_SECONDS = 86_400.0  # after an entry's end, so that a clock that jumps and returns revives nothing
MAX_ENTRIES = 10_000  # read from Redis, and kept
CLOCK_SKEW = 60.0  # seconds by which the clocks of two replicas may differ


class Revocations:
    """The set of revocations. `session_seconds` is the lifetime of a session.

    Without Redis (`redis` is None) the set is this process's alone, and a restart ends every session.
    """

    def __init__(
        self,
        redis: BestEffort | None,
        session_seconds: float,
        *,
        generation: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.generation = generation or secrets.token_hex(8)
        self._redis = redis
        self._session_seconds = session_seconds
        self._clock = clock
        self._ends: dict[str, float] = {}
        self._renew()

    def accepts(self, generation: str, session_id: str) -> bool:
        """Return whether the session's generation is known and the session is not revoked."""
        self._ends[f"generation:{self.generation}"] = self._clock() + self._session_seconds + 1
        is_known = self._ends.get(f"generation:{generation}", 0.0) > self._clock()
        return is_known and f"session:{session_id}" not in self._ends

    async def revoke_session(self, session_id: str, ends: float) -> None:
        """Revoke a session: here at once, at other replicas within a second if Redis is available."""
        await self._add(f"session:{session_id}", ends)

    async def use_code(self, code_id: str, ends: float) -> bool:
        """Record the use of a code. Returns whether it is the first, here and (with Redis) at any replica."""
        return await self._add(f"code:{code_id}", ends)

    async def sync(self) -> None:
        """Write this replica's entries to Redis and read those of the others."""
        self._renew()
        if self._redis is not None:
            nothing: list[tuple[Any, Any]] = []
            for member, score in await self._redis(self._merge, nothing):
                self.learn(member, score)

    async def _add(self, entry: str, ends: float) -> bool:
        if entry in self._ends:
            return False
        self._renew()
        self._ends[entry] = ends

        async def add(redis: Redis) -> bool:
            return bool(await redis.zadd(KEY, {entry: ends}, nx=True))

        return await self._redis(add, True) if self._redis is not None else True  # noqa: FBT003 - BestEffort's fallback

    async def _merge(self, redis: Redis) -> list[tuple[Any, Any]]:
        """Write and read in one transaction: a generation is never read without the revocations up to then."""
        async with redis.pipeline(transaction=True) as pipe:
            pipe.zremrangebyscore(KEY, "-inf", self._clock() - RETENTION_SECONDS)
            pipe.zadd(KEY, dict(self._ends), gt=True)
            pipe.zrange(KEY, 0, MAX_ENTRIES - 1, desc=True, withscores=True)
            try:
                *_, found = await pipe.execute()
            except ResponseError as error:
                if "WRONGTYPE" in str(error):  # a foreign value; memory has all entries
                    await redis.delete(KEY)
                raise
        return list(found)

    def learn(self, member: Any, score: Any) -> None:
        """Add an entry of another replica. Ignores one that ends later than any that a replica writes."""
        entry, ends = bytes(member).decode(errors="replace"), float(score)
        if ends <= self._clock() + self._session_seconds + CLOCK_SKEW and (
            entry in self._ends or len(self._ends) < MAX_ENTRIES
        ):
            self._ends[entry] = max(ends, self._ends.get(entry, 0.0))

    def _renew(self) -> None:
        """Extend this generation to the end of sessions that start now; drop entries that ended long ago."""
        now = self._clock()
        self._ends = {entry: ends for entry, ends in self._ends.items() if ends + RETENTION_SECONDS > now}
        self._ends[f"generation:{self.generation}"] = now + self._session_seconds + 1
