"""The drill lease in Redis, which admits one drill at a time; a second one is refused.

If Redis loses its data, the lease is lost. The holder renews it every few seconds and then learns if another took it.
"""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
import structlog

from services.common.redis import Redis, exchange
from services.common.refusals import Refusal

log = structlog.get_logger()

LEASE_KEY = "chaos:drill"
MAX_TTL = 60  # seconds

Run = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:-]{1,100}$(?!\n)")]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Ttl = Annotated[int, msgspec.Meta(ge=1, le=MAX_TTL)]

_ACQUIRE = """
local held = redis.pcall('GET', KEYS[1])
local left = type(held) == 'string' and redis.call('PTTL', KEYS[1]) or 0
if left > 0 and left <= tonumber(ARGV[4]) and string.match(held, '^%S+') ~= ARGV[1] then
    return {held, left}
end
if left <= 0 or string.match(held, '^%S+') ~= ARGV[1] then
    held = ARGV[2]
end
redis.call('SET', KEYS[1], held, 'PX', ARGV[3])
return {held, tonumber(ARGV[3])}
"""
"""Take or renew the lease unless another run holds it. Ignores a key of another type or without expiry."""

_RELEASE = """
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' and string.match(held, '^%S+') == ARGV[1] then
    return redis.call('DEL', KEYS[1])
end
return 0
"""


class DrillRunning(Refusal):
    slug, status, title = "drill-running", 409, "Another drill is running"


class DrillBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Request to hold the platform for a run of `drill`, started by `by`, for `ttl_seconds`."""

    run: Run
    drill: Text
    by: Text
    ttl_seconds: Ttl = 15


class DrillLease(msgspec.Struct, frozen=True):
    """The run that holds the platform, since when, and the seconds until the lease expires."""

    run: str
    drill: str
    by: str
    since: datetime
    remaining_seconds: float


class ReleaseResult(msgspec.Struct, frozen=True):
    """`returned`: the run held the lease."""

    returned: bool


class _LeaseHolder(msgspec.Struct, frozen=True):
    drill: str
    by: str
    since: datetime


_holder = msgspec.json.Decoder(_LeaseHolder)


async def acquire(redis: Redis, body: DrillBody) -> DrillLease:
    """Acquire or renew the lease for this run. Raises DrillRunning if another run holds it."""
    lease = await _acquire(redis, body)
    if lease.run != body.run:
        raise DrillRunning(
            f"{lease.drill} is running, started by {lease.by} at {lease.since:%H:%M:%S} UTC",
            run=lease.run,
            remaining_seconds=lease.remaining_seconds,
        )
    return lease


@exchange()
async def release(redis: Redis, run: str) -> bool:
    """Release the lease. Returns whether `run` held it."""
    return bool(await redis.eval(_RELEASE, 1, LEASE_KEY, run))


@exchange()
async def current(redis: Redis) -> DrillLease | None:
    """Return the lease that is held now, if any."""
    async with redis.pipeline() as pipe:
        pipe.get(LEASE_KEY)
        pipe.pttl(LEASE_KEY)
        raw, left = await pipe.execute()
    return _lease(raw, left) if raw is not None and 0 < left <= MAX_TTL * 1000 else None


@exchange()
async def _acquire(redis: Redis, body: DrillBody) -> DrillLease:
    """Try to acquire, and return the lease that is then in force, of this run or another."""
    holder = _LeaseHolder(body.drill, body.by, datetime.now(UTC))
    value = body.run.encode() + b" " + msgspec.json.encode(holder)
    raw, left = await redis.eval(_ACQUIRE, 1, LEASE_KEY, body.run, value, body.ttl_seconds * 1000, MAX_TTL * 1000)
    return _lease(raw, left)


def _lease(raw: bytes, left: int) -> DrillLease:
    """Decode a stored lease. Of a lease written by another version only the run is known."""
    run, _, rest = raw.partition(b" ")
    try:
        holder = _holder.decode(rest)
    except msgspec.DecodeError:
        log.warning("drill lease in redis cannot be decoded")
        holder = _LeaseHolder("a drill", "an unknown user", datetime.now(UTC))
    return DrillLease(run.decode(errors="replace"), holder.drill, holder.by, holder.since, round(left / 1000, 3))
