"""What may be used no more: operators' sessions that were signed out, and codes that were used.

Each replica keeps it in memory, which is all that a request asks. Replicas exchange it once a second through one sorted
set in Redis. Entries are only added and end by themselves, so a merge in any order ends the same everywhere.

Redis may lose everything at any moment, and that must not revive a session. A session therefore names the generation of
the process that it began at, and generations are entries too: whoever knows that a generation exists read, in the same
moment, all that was signed out. What no replica and no Redis remembers is not accepted.
"""

import secrets
import time
from collections.abc import Callable
from typing import Any

from redis.exceptions import ResponseError

from services.common.redis import BestEffort, Redis

KEY = "dashboard:ledger"
KEPT = 86_400.0  # seconds that an entry is kept after its end, so that a clock that jumps and returns revives nothing
MOST = 10_000  # entries that are read, and known
SKEW = 60.0  # seconds by which the clocks of two replicas may differ


class Ledger:
    """`lasts` is how long a session of this process's generation may live, in seconds.

    Without Redis (`redis` is None) it is this process's alone, and a restart ends every session.
    """

    def __init__(
        self,
        redis: BestEffort | None,
        lasts: float,
        *,
        generation: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.generation = generation or secrets.token_hex(8)
        self._redis = redis
        self._lasts = lasts
        self._clock = clock
        self._ends: dict[str, float] = {}
        self._renew()

    def accepts(self, generation: str, session_id: str) -> bool:
        """Whether the session began at a process whose sign-outs are known here, and was not signed out."""
        self._ends[f"generation:{self.generation}"] = self._clock() + self._lasts + 1
        is_known = self._ends.get(f"generation:{generation}", 0.0) > self._clock()
        return is_known and f"session:{session_id}" not in self._ends

    async def end_session(self, session_id: str, ends: float) -> None:
        """Refuse the session from now on: here at once, at the other replicas within a second if Redis answers."""
        await self._spend(f"session:{session_id}", ends)

    async def use_code(self, code: str, ends: float) -> bool:
        """Return whether this is the first use of the code, here and, if Redis answers, at any replica."""
        return await self._spend(f"code:{code}", ends)

    async def exchange(self) -> None:
        """Give Redis what is known here, and learn what the other replicas know."""
        self._renew()
        if self._redis is not None:
            nothing: list[tuple[Any, Any]] = []
            for member, score in await self._redis(self._merge, nothing):
                self.learn(member, score)

    async def _spend(self, entry: str, ends: float) -> bool:
        if entry in self._ends:
            return False
        self._renew()
        self._ends[entry] = ends

        async def add(redis: Redis) -> bool:
            return bool(await redis.zadd(KEY, {entry: ends}, nx=True))

        return await self._redis(add, True) if self._redis is not None else True  # noqa: FBT003 - BestEffort's fallback

    async def _merge(self, redis: Redis) -> list[tuple[Any, Any]]:
        """Write and read in one transaction: a generation is never read without what was signed out by then."""
        async with redis.pipeline(transaction=True) as pipe:
            pipe.zremrangebyscore(KEY, "-inf", self._clock() - KEPT)
            pipe.zadd(KEY, dict(self._ends), gt=True)
            pipe.zrange(KEY, 0, MOST - 1, desc=True, withscores=True)
            try:
                *_, found = await pipe.execute()
            except ResponseError as error:
                if "WRONGTYPE" in str(error):  # somebody else's value: memory has all that ours would say
                    await redis.delete(KEY)
                raise
        return list(found)

    def learn(self, member: Any, score: Any) -> None:
        """Take an entry of another replica; one that no replica makes, which would stay for ever, is none."""
        entry, ends = bytes(member).decode(errors="replace"), float(score)
        if ends <= self._clock() + self._lasts + SKEW and (entry in self._ends or len(self._ends) < MOST):
            self._ends[entry] = max(ends, self._ends.get(entry, 0.0))

    def _renew(self) -> None:
        """A generation lasts as long as the sessions that may still begin in it; what ended long ago is forgotten."""
        now = self._clock()
        self._ends = {entry: ends for entry, ends in self._ends.items() if ends + KEPT > now}
        self._ends[f"generation:{self.generation}"] = now + self._lasts + 1
