"""Rate limit per client on public endpoints: a fixed window counted in Redis; without Redis, requests pass.

Litestar's own limiter reads and writes its history in two steps, so concurrent replicas lose counts; one INCR does
not.
"""

import time
from collections import Counter
from collections.abc import Callable

from litestar.handlers import BaseRouteHandler

from services.common import addresses
from services.common.auth import AnyConnection, Level, level_of
from services.common.group_commit import GroupCommit
from services.common.redis import BestEffort, Redis
from services.common.refusals import RateLimited

WINDOW = 60  # seconds
LOCAL_CLIENTS = 10_000  # that one process counts per minute


class RateLimit:
    """At most `per_minute` requests per client in each minute; 0 means no limit.

    A client is an IPv4 address or an IPv6 /64, since a client usually has all addresses of a /64.
    """

    def __init__(
        self, redis: BestEffort, per_minute: int, trusted_hops: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._redis = redis
        self._per_minute = per_minute
        self._trusted_hops = trusted_hops
        self._clock = clock
        self._counts = GroupCommit("rate-limit", self._count)

    async def spend(self, connection: AnyConnection) -> None:
        """Count one request of this client. Raises RateLimited if it exceeds the limit of this minute."""
        if not self._per_minute:
            return
        now = int(self._clock())
        client = addresses.network_of(client_address(connection, self._trusted_hops))
        key = f"rate:{client}:{now // WINDOW}"
        if await self._counts.submit(key) > self._per_minute:
            wait = WINDOW - now % WINDOW
            raise RateLimited(f"{self._per_minute} requests a minute are used up", retry_after=wait)

    async def _count(self, keys: list[str]) -> list[int]:
        """Count one request for each of `keys`, on one connection."""

        async def count(redis: Redis) -> list[int]:
            async with redis.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.incr(key)
                    pipe.expire(key, WINDOW * 2)
                return [int(used) for used in (await pipe.execute())[::2]]

        return await self._redis(count, [0] * len(keys))


class LocalRateLimit:
    """The same limit, counted in this process only: for a service without Redis."""

    def __init__(self, per_minute: int, trusted_hops: int, clock: Callable[[], float] = time.time) -> None:
        self._per_minute = per_minute
        self._trusted_hops = trusted_hops
        self._clock = clock
        self._minute = 0
        self._counts: Counter[str] = Counter()

    async def spend(self, connection: AnyConnection) -> None:
        """Count one request of this client. Raises RateLimited if it exceeds the limit of this minute."""
        if not self._per_minute:
            return
        now = int(self._clock())
        if now // WINDOW != self._minute:
            self._minute = now // WINDOW
            self._counts.clear()
        client = addresses.network_of(client_address(connection, self._trusted_hops))
        if client not in self._counts and len(self._counts) >= LOCAL_CLIENTS:
            client = "others"
        self._counts[client] += 1
        if self._counts[client] > self._per_minute:
            raise RateLimited(f"{self._per_minute} requests a minute are used up", retry_after=WINDOW - now % WINDOW)


def client_address(connection: AnyConnection, trusted_hops: int) -> str:
    """Return the address that the outermost trusted proxy saw; with no trusted proxy, the socket's peer.

    Addresses are in canonical spelling. Without one from the proxy, the peer's is used, else "unknown".
    """
    client = connection.scope["client"]
    peer = client[0] if client else "unknown"
    address = None
    if trusted_hops:
        lines = connection.headers.getall("x-forwarded-for", [])  # a proxy may add a line instead of appending to one
        forwarded = [part for part in ",".join(lines).split(",") if part.strip()]
        if forwarded:
            address = addresses.canonical(forwarded[-min(trusted_hops, len(forwarded))])
    return address or addresses.canonical(peer) or peer


async def public(connection: AnyConnection, _: BaseRouteHandler) -> None:
    """A guard for public endpoints: anonymous callers are limited, a wrong token is still 401."""
    if level_of(connection) is Level.PUBLIC:
        await limited(connection, _)


async def limited(connection: AnyConnection, _: BaseRouteHandler) -> None:
    """A guard for endpoints without tokens: every caller is limited."""
    limit: RateLimit | LocalRateLimit = connection.app.state.rate_limit
    await limit.spend(connection)
