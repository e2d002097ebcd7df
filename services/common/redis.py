"""Redis client. Redis may fail at any time and holds only data that may be lost.

Every exception of the client during an exchange becomes one of `FAILURES`: transports and parsers raise more than the
library declares, such as uvloop's RuntimeError for a closed transport.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

import redis.asyncio as redis_asyncio
import structlog
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import ConnectionPool, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from services.common.dependencies import note_failure

log = structlog.get_logger()

T = TypeVar("T")
Redis = redis_asyncio.Redis

TIMEOUT = 0.3  # seconds that a request may wait for Redis
COOLDOWN = 1.0  # seconds without calls after a failure, so that callers do not wait for more timeouts

FAILURES: tuple[type[Exception], ...] = (RedisError, OSError, TimeoutError)

TYPES = {
    **dict.fromkeys(("GET", "SET", "INCRBY"), "string"),
    **dict.fromkeys(("HSET", "HGETALL", "HVALS", "HDEL"), "hash"),
    **dict.fromkeys(("LPUSH", "LRANGE", "LTRIM"), "list"),
    **dict.fromkeys(("SADD", "SREM", "SMEMBERS"), "set"),
    **dict.fromkeys(("ZADD", "ZREVRANGE", "ZREMRANGEBYSCORE", "ZREMRANGEBYRANK"), "zset"),
    **dict.fromkeys(("XADD", "XACK", "XAUTOCLAIM", "XREADGROUP", "XGROUP CREATE"), "stream"),
}
"""The key type of each command that fails for another: a test tries every key with a wrong one."""


class UnexpectedFailure(RedisError):  # noqa: N818 - as that of HTTP
    """The client failed in a way that its library does not declare."""


class _InStep:
    """Closes a connection after a malformed reply: unread replies would be taken for those of later commands."""

    async def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
        try:
            return await super().parse_response(connection, command_name, **options)  # type: ignore[misc]  # a mixin
        except Exception as error:
            if not isinstance(error, FAILURES):
                await connection.disconnect(nowait=True)
            raise


class _Client(_InStep, Redis):  # type: ignore[misc]  # parents of redis-py's own disagree
    """redis-py's client, except that it raises only `FAILURES`, and deletes a key of a wrong type.

    Such a key would disable its feature for ever. All data in Redis may be lost, so the next attempt starts without it.
    """

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            found = await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]  # as the library is
            if args[0] == "MGET":
                _check_count(found, len(args) - 1)
        except Exception as error:
            await _declare(error, self, [args])
            raise
        return found

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> "_Pipeline":  # noqa: FBT001, FBT002 - redis-py's own signature
        pipe = _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        pipe.owner = self
        return pipe


class _Pipeline(_InStep, Pipeline):  # type: ignore[misc]  # the same
    owner: _Client

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 - the same
        commands = [args for args, _ in self.command_stack]
        try:
            found: list[Any] = await super().execute(raise_on_error)
            _check_count(found, len(commands))
        except Exception as error:
            await _declare(error, self.owner, commands)
            raise
        return found


def _check_count(found: Sequence[Any], expected: int) -> None:
    """Raise unless there is one reply per command."""
    if len(found) != expected:
        raise UnexpectedFailure(f"{len(found)} replies instead of {expected}")


async def _declare(error: Exception, client: _Client, commands: Sequence[Sequence[Any]]) -> None:
    """Raise UnexpectedFailure from an error outside `FAILURES`; delete keys whose type caused it."""
    if isinstance(error, ResponseError) and "WRONGTYPE" in str(error):
        await _mend(client, commands)
    if not isinstance(error, FAILURES):
        raise UnexpectedFailure(repr(error)) from error


async def _mend(client: _Client, commands: Sequence[Sequence[Any]]) -> None:
    """Delete the keys of these commands that have a wrong type."""
    for args in commands:
        expected = TYPES.get(str(args[0]).upper())
        if expected is None:
            continue
        key = args[list(args).index(b"STREAMS") + 1] if args[0] == "XREADGROUP" else args[1]
        found = (await client.type(key)).decode()  # type: ignore[union-attr]  # it does not decode replies
        if found not in {expected, "none"}:
            await client.unlink(key)
            log.warning("a key in Redis had a wrong type and is deleted", key=str(key), type=found, expected=expected)


@contextlib.asynccontextmanager
async def exchange() -> AsyncIterator[None]:
    """Convert other exceptions of the block, such as those of malformed replies, to UnexpectedFailure."""
    try:
        yield
    except FAILURES:
        raise
    except Exception as error:
        raise UnexpectedFailure(repr(error)) from error


def open_redis(url: str, *, name: str, socket_timeout: float = TIMEOUT, connect_timeout: float = TIMEOUT) -> Redis:
    """Return a client without retries: the library's own (10 of them) delay a caller by seconds and repeat writes.

    `rediss://` is TLS: redis-py verifies the server's certificate (`?ssl_ca_certs=FILE`) and its name.
    """
    client = _Client.from_url(
        url,
        client_name=name,
        socket_timeout=socket_timeout,
        socket_connect_timeout=connect_timeout,
        retry=Retry(NoBackoff(), 0),
        decode_responses=False,
    )
    if issubclass(client.connection_pool.connection_class, SSLConnection):
        _share_context(client.connection_pool)
    return client


def _share_context(pool: ConnectionPool) -> None:
    """Share one TLS context between all connections: each would block for 30 ms to load the system's certificates."""
    shared = SSLConnection(**pool.connection_kwargs).ssl_context

    class Sharing(SSLConnection):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.ssl_context = shared

    pool.connection_class = Sharing


class BestEffort:
    """Runs optional Redis operations: on any failure, the caller gets the fallback."""

    def __init__(self, client: Redis, limit: float = TIMEOUT) -> None:
        self.client = client
        self._limit = limit
        self._cooldown_until = 0.0

    async def __call__(self, operation: Callable[[Redis], Awaitable[T]], fallback: T) -> T:
        """Return the result of `operation` if it completes in time, else `fallback`; at once during the cooldown.

        A cooldown starts if Redis cannot be reached or does not respond, not if it refuses one command.
        """
        if time.monotonic() < self._cooldown_until:
            return fallback
        try:
            async with asyncio.timeout(self._limit):
                return await operation(self.client)
        except ResponseError as error:
            note_failure("redis", "refused", error)
        except FAILURES as error:
            self._cooldown_until = time.monotonic() + COOLDOWN
            note_failure("redis", _kind(error), error, with_traceback=isinstance(error, UnexpectedFailure))
            await drop_idle(self.client)
        except Exception as error:  # noqa: BLE001 - a bug of ours, or a reply that makes no sense: neither fails a request
            note_failure("redis", "unexpected", error, with_traceback=True)
        return fallback


async def drop_idle(client: Redis) -> None:
    """Close the idle connections: if one is dead, others may be, and each would cost a caller a timeout."""
    with contextlib.suppress(Exception):  # the transports may be in any state
        await client.connection_pool.disconnect(inuse_connections=False)


@contextlib.asynccontextmanager
async def closing(client: Redis) -> AsyncIterator[None]:
    """Close `client` at the end of the block."""
    try:
        yield
    finally:
        await client.aclose()


async def ping(client: Redis) -> None:
    """Raise one of `FAILURES` unless Redis responds in time."""
    try:
        async with asyncio.timeout(TIMEOUT):
            await client.ping()
    except FAILURES:
        await drop_idle(client)
        raise


def _kind(error: Exception) -> str:
    match error:
        case TimeoutError() | RedisTimeoutError():
            return "timeout"
        case OSError() | RedisConnectionError():
            return "connection"
        case _:
            return "unexpected"
