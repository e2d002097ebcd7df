"""One drill at a time: whoever runs one has the platform by a lease in Redis, so the second of two is refused.

Losing Redis loses the lease; whoever has it renews it every few seconds, and hears if another was quicker.
"""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
import structlog

from services.common.redis import Redis, exchange
from services.common.refusals import Refusal

log = structlog.get_logger()

LEASE = "chaos:drill"
LEASE_LIMIT = 60  # seconds

Run = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:-]{1,100}$(?!\n)")]
Words = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Ttl = Annotated[int, msgspec.Meta(ge=1, le=LEASE_LIMIT)]

_TAKE = """
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
"""Take or renew the lease, unless another run has it; a key of another type, or without an end, is nobody's."""

_GIVE_BACK = """
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' and string.match(held, '^%S+') == ARGV[1] then
    return redis.call('DEL', KEYS[1])
end
return 0
"""


class DrillRunning(Refusal):
    slug, status, title = "drill-running", 409, "Another drill has this platform"


class DrillBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run of `drill`, and `by` whom: the platform is to be its own for `ttl_seconds` from now."""

    run: Run
    drill: Words
    by: Words
    ttl_seconds: Ttl = 15


class DrillLease(msgspec.Struct, frozen=True):
    """Which run has the platform to itself, since when, and for how long unless it is renewed."""

    run: str
    drill: str
    by: str
    since: datetime
    remaining_seconds: float


class Returned(msgspec.Struct, frozen=True):
    """Whether the run had the lease until now."""

    returned: bool


class _Stored(msgspec.Struct, frozen=True):
    drill: str
    by: str
    since: datetime


_stored = msgspec.json.Decoder(_Stored)


async def take(redis: Redis, wanted: DrillBody) -> DrillLease:
    """Take the lease for this run, or renew it. Raises DrillRunning where another run has it."""
    lease = await _take(redis, wanted)
    if lease.run != wanted.run:
        raise DrillRunning(
            f"{lease.drill} runs here, by {lease.by}, since {lease.since:%H:%M:%S} UTC",
            run=lease.run,
            remaining_seconds=lease.remaining_seconds,
        )
    return lease


@exchange()
async def give_back(redis: Redis, run: str) -> bool:
    """Return whether `run` had the lease, which it has no more."""
    return bool(await redis.eval(_GIVE_BACK, 1, LEASE, run))


@exchange()
async def current(redis: Redis) -> DrillLease | None:
    """Return who has the platform to himself, if anybody has."""
    async with redis.pipeline() as pipe:
        pipe.get(LEASE)
        pipe.pttl(LEASE)
        raw, left = await pipe.execute()
    return _lease(raw, left) if raw is not None and 0 < left <= LEASE_LIMIT * 1000 else None


@exchange()
async def _take(redis: Redis, wanted: DrillBody) -> DrillLease:
    """Return the lease that stands then, be it ours or not."""
    stored = _Stored(wanted.drill, wanted.by, datetime.now(UTC))
    value = wanted.run.encode() + b" " + msgspec.json.encode(stored)
    raw, left = await redis.eval(_TAKE, 1, LEASE, wanted.run, value, wanted.ttl_seconds * 1000, LEASE_LIMIT * 1000)
    return _lease(raw, left)


def _lease(raw: bytes, left: int) -> DrillLease:
    """The lease as it is stored; one that another version wrote says who has it, and no more."""
    run, _, rest = raw.partition(b" ")
    try:
        stored = _stored.decode(rest)
    except msgspec.DecodeError:
        log.warning("the lease of a drill in Redis makes no sense")
        stored = _Stored("a drill", "somebody", datetime.now(UTC))
    return DrillLease(run.decode(errors="replace"), stored.drill, stored.by, stored.since, round(left / 1000, 3))
