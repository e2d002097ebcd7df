"""Checks of Redis: connection, version, and eviction. It stores nothing that must not be lost."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from valerix_cli.doctor.environment import Setup
from valerix_cli.doctor.findings import UP, CheckTask, Finding, Subject, one_line
from valerix_cli.doctor.processes import silent
from valerix_cli.errors import CliError
from valerix_cli.local.external import REDIS_URL
from valerix_cli.local.stack import Database, read_secrets

OLDEST = (6, 2)  # the first with XAUTOCLAIM
_REDIS, _MEMORY = Subject("redis", "redis"), Subject("redis", "memory policy")


def check_tasks(setup: Setup) -> list[CheckTask]:
    server = setup.stack.databases.get("redis") if setup.stack else None
    url = setup.environ.get(REDIS_URL) if server is None or server.kind == "external" else _ours(setup, server)
    if setup.directory and url:
        return [
            CheckTask(_REDIS, partial(_task, setup, server, url), "valerix logs redis", server.pid if server else None)
        ]
    return [CheckTask(_REDIS, lambda: [_unknown(setup, server)], UP)]


def _unknown(setup: Setup, server: Database | None) -> Finding:
    """Return why the address of Redis is unknown."""
    if setup.directory is None:
        return _REDIS.skipped("Only the services know its address; see their checks.")
    if server is None:
        return _REDIS.skipped("No platform runs here.", UP)
    if server.kind == "external":
        return _REDIS.skipped(
            "The shell that ran valerix up names it, this one does not.", f"export {REDIS_URL}=…, as there"
        )
    return _REDIS.skipped("Its password cannot be read.")


def _ours(setup: Setup, server: Database) -> str | None:
    try:
        secrets = read_secrets(setup.directory) if setup.directory else None
    except (OSError, CliError):
        return None
    return f"redis://:{secrets.redis_password}@{server.host}:{server.port}/0" if secrets else None


def _task(setup: Setup, server: Database | None, url: str) -> Iterator[Finding]:
    limit = setup.limits.answer
    try:
        client = Redis.from_url(url, socket_timeout=limit, socket_connect_timeout=limit, retry=Retry(NoBackoff(), 0))
    except ValueError as error:
        yield _REDIS.failed(f"{REDIS_URL} is invalid: {one_line(error)}", f"export {REDIS_URL}=redis://HOST:6379/0")
        return
    with client:
        try:
            client.ping()
            info: dict[str, Any] = client.info()
        except RedisError as error:
            yield _silent(server, f"It is unreachable: {one_line(error)}")
            return
    yield evaluate_version(info)
    yield evaluate_memory(int(info.get("maxmemory", 0)), str(info.get("maxmemory_policy")))


def _silent(server: Database | None, found: str) -> Finding:
    if server is None or server.kind == "external":
        return _REDIS.failed(found, f"unset {REDIS_URL}, to use the embedded one; or correct it")
    return silent(_REDIS, server.pid, found, "valerix logs redis")


def evaluate_version(info: dict[str, Any]) -> Finding:
    """Evaluate the version of Redis that it is compatible with, which Valkey reports besides its own."""
    version = str(info["redis_version"])
    found = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {version}"
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        return _REDIS.failed(
            f"{found} answers; it must be {OLDEST[0]}.{OLDEST[1]} or newer.", f"unset {REDIS_URL}, for our own"
        )
    return _REDIS.ok(f"{found} answers.")


def evaluate_memory(limit: int, policy: str) -> Finding:
    """Evaluate the limit in bytes (0: none) and the policy. All our keys may be evicted; `noeviction` fails writes."""
    if limit and policy == "noeviction":
        return _MEMORY.warning(
            f"It may use {limit // 2**20:,} MB and evicts nothing: once it is full, responses are no longer cached.",
            "redis-cli config set maxmemory-policy allkeys-lru",
        )
    return _MEMORY.ok(f"It may use {limit // 2**20:,} MB, then evicts by {policy}." if limit else "It has no limit.")
