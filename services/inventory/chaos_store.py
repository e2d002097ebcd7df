"""The gremlins' state in Redis: live activation, script, halt flag, replicas that follow, counts and hits.

Each function is one exchange and raises one of `services.common.redis.FAILURES`. Losing the data ends the live
activation and nothing else; replicas report their counts again.
"""

import contextlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import structlog

from services.common.redis import Redis, exchange
from services.inventory.drill_lease import DrillLease
from services.inventory.gremlins import MAX_TTL, Activation, Gremlin, Hit, Script

log = structlog.get_logger()

T = TypeVar("T")

LIVE, HALTED, REPLICAS, RECENT = "chaos:live", "chaos:halted", "chaos:replicas", "chaos:recent"
REPLICA_TTL_MS = 1000  # a replica without a heartbeat for this long has ended
RETENTION_SECONDS = 86_400  # of ended activations
MAX_LISTED = 20  # ended activations in a view
MAX_STORED = 100


class HitCount(msgspec.Struct):
    """Attempts that a gremlin decided on (`rolls`) and those that it hit."""

    rolls: int = 0
    hits: int = 0


class Counts(msgspec.Struct):
    latency: HitCount = msgspec.field(default_factory=HitCount)
    crash: HitCount = msgspec.field(default_factory=HitCount)
    partial_failure: HitCount = msgspec.field(default_factory=HitCount)

    @property
    def hits(self) -> int:
        return self.latency.hits + self.crash.hits + self.partial_failure.hits


class ActivationView(Activation, frozen=True, kw_only=True):
    """An activation with the counts of all replicas. `remaining_seconds` is 0 once it has ended."""

    remaining_seconds: float
    acknowledged: list[str]
    counts: Counts


class ChaosView(msgspec.Struct, frozen=True):
    """The live activation, ended activations (newest first), and the drill that holds the platform."""

    halted: bool
    live: ActivationView | None
    recent: list[ActivationView]
    drill: DrillLease | None = None


class HitsView(msgspec.Struct, frozen=True):
    """Every attempt that an activation hit, over all replicas.

    `complete` is false if more hits were counted than are listed: a process keeps a limited number of hits, or has not
    reported the last ones yet.
    """

    activation_id: str
    hits: list[Hit]
    complete: bool


class LiveState(msgspec.Struct, frozen=True):
    """The live activation and its remaining seconds.

    `unknown_to_redis`: Redis has no report of this process: it never received one, or lost them.
    """

    live: Activation | None
    remaining: float
    unknown_to_redis: bool


class Report(msgspec.Struct, frozen=True):
    """The counts of one process for one activation since its start, and its hits from number `first` on."""

    activation: Activation
    counts: Counts
    first: int
    hits: list[Hit]


_activation = msgspec.json.Decoder(Activation)
_counts = msgspec.json.Decoder(Counts)
_script = msgspec.json.Decoder(list[Hit])
_reported_hit = msgspec.json.Decoder(tuple[str, int, Gremlin, UUID, int])  # process, its number there, and the hit


@exchange()
async def sync_replica(redis: Redis, replica: str, process: str, following: str | None) -> LiveState:
    """Store the heartbeat of `replica` with what it follows, and return the live activation."""
    async with redis.pipeline() as pipe:
        _read_live(pipe)
        pipe.exists(_reported_key(replica, process))
        _write_heartbeat(pipe, replica, following)
        raw, ttl, halted, reported, *_ = await pipe.execute()
    live, remaining = _parse_live(raw, ttl, halted)
    return LiveState(live, remaining, not reported)


@exchange()
async def write_report(redis: Redis, replica: str, process: str, following: str | None, reports: list[Report]) -> bool:
    """Store what `process` of `replica` follows, counted and hit. Idempotent.

    Returns whether Redis still had the previous report.
    """
    source = f"{replica}/{process}"
    async with redis.pipeline() as pipe:
        pipe.set(_reported_key(replica, process), "1", ex=RETENTION_SECONDS, get=True)
        _write_heartbeat(pipe, replica, following)
        for report in reports:
            counts, hits = _counts_key(report.activation.id), _hits_key(report.activation.id)
            _add_recent(pipe, report.activation)
            pipe.hset(counts, source, msgspec.json.encode(report.counts))
            pipe.expire(counts, RETENTION_SECONDS)
            if report.hits:
                pipe.sadd(hits, *_hit_members(source, report))
            pipe.expire(hits, RETENTION_SECONDS)
        return (await pipe.execute())[0] is not None


@exchange()
async def time_and_halt(redis: Redis) -> tuple[datetime, bool]:
    """Return the time of Redis' clock, which all replicas share, and whether gremlins are halted."""
    async with redis.pipeline() as pipe:
        pipe.time()
        pipe.exists(HALTED)
        (seconds, microseconds), halted = await pipe.execute()
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds), bool(halted)


@exchange()
async def set_live(redis: Redis, activation: Activation, script: list[Hit] | None) -> None:
    """Store `activation` as the live one, and its script, both with its time to live."""
    async with redis.pipeline() as pipe:
        if script is not None:
            pipe.set(_script_key(activation.id), msgspec.json.encode(script), ex=activation.ttl_seconds)
        pipe.set(LIVE, msgspec.json.encode(activation), ex=activation.ttl_seconds)
        _add_recent(pipe, activation)
        pipe.zremrangebyscore(RECENT, "-inf", activation.set_at.timestamp() - RETENTION_SECONDS)
        pipe.zremrangebyrank(RECENT, 0, -MAX_STORED - 1)
        await pipe.execute()


@exchange()
async def read_script(redis: Redis, activation_id: str) -> Script | None:
    """Return the script of an activation; None if Redis lost it or it cannot be decoded."""
    raw = await redis.get(_script_key(activation_id))
    try:
        return None if raw is None else frozenset(_script.decode(raw))
    except msgspec.DecodeError:
        return None


@exchange()
async def clear_live(redis: Redis, *, halt: bool | None = None) -> Activation | None:
    """Delete the live activation and return it; set or clear the halt flag in the same transaction."""
    async with redis.pipeline() as pipe:
        _read_live(pipe)
        if halt is not False:
            pipe.delete(LIVE)
        if halt is True:
            pipe.set(HALTED, "1")
        if halt is False:
            pipe.delete(HALTED)
        raw, ttl, halted, *_ = await pipe.execute()
    return _parse_live(raw, ttl, halted)[0]


@exchange()
async def followers(redis: Redis) -> dict[str, str]:
    """Return the replicas with a heartbeat in the last second, with the id each follows ("" for none)."""
    names: list[str] = sorted(map(_decode_text, await redis.smembers(REPLICAS)))
    if not names:
        return {}
    followed = await redis.mget([_replica_key(name) for name in names])
    gone = [name for name, raw in zip(names, followed, strict=True) if raw is None]
    if gone:
        await redis.srem(REPLICAS, *gone)
    return {name: _decode_text(raw) for name, raw in zip(names, followed, strict=True) if raw is not None}


@exchange()
async def read_view(redis: Redis) -> ChaosView:
    """Return all activations with the counts of all processes summed."""
    async with redis.pipeline() as pipe:
        _read_live(pipe)
        pipe.zrevrange(RECENT, 0, MAX_LISTED)
        raw, ttl, halted, recent = await pipe.execute()
    live, remaining = _parse_live(raw, ttl, halted)
    activations = [found for found in map(_decode, recent) if found is not None]
    ended = [found for found in activations if live is None or found.id != live.id][:MAX_LISTED]
    shown = ([] if live is None else [live]) + ended
    if not shown:
        return ChaosView(bool(halted), None, [])
    async with redis.pipeline(transaction=False) as pipe:
        for activation in shown:
            pipe.hgetall(_counts_key(activation.id))
        tables = await pipe.execute()
    views = [
        _activation_view(activation, remaining if activation is live else 0.0, table)
        for activation, table in zip(shown, tables, strict=True)
    ]
    return ChaosView(bool(halted), None if live is None else views[0], views if live is None else views[1:])


@exchange()
async def read_hits(redis: Redis, activation_id: str) -> HitsView | None:
    """Return the distinct hits of an activation across all processes, sorted; None if the activation is unknown."""
    async with redis.pipeline() as pipe:
        pipe.hgetall(_counts_key(activation_id))
        pipe.smembers(_hits_key(activation_id))
        table, members = await pipe.execute()
    if not table:
        return None
    counted = sum(counts.hits for counts in _decode_valid(table.values(), _counts))
    reported = _decode_valid(members, _reported_hit)
    found = {Hit(gremlin, order_id, attempt) for _, _, gremlin, order_id, attempt in reported}
    listed = sorted(found, key=lambda hit: (hit.order_id.int, hit.attempt, hit.gremlin))
    return HitsView(activation_id, listed, complete=len(reported) >= counted)


def _read_live(pipe: Any) -> None:
    pipe.get(LIVE)
    pipe.pttl(LIVE)
    pipe.exists(HALTED)


def _write_heartbeat(pipe: Any, replica: str, following: str | None) -> None:
    pipe.set(_replica_key(replica), following or "", px=REPLICA_TTL_MS)
    pipe.sadd(REPLICAS, replica)


def _add_recent(pipe: Any, activation: Activation) -> None:
    pipe.zadd(RECENT, {msgspec.json.encode(activation): activation.set_at.timestamp()})
    pipe.expire(RECENT, RETENTION_SECONDS)


def _hit_members(source: str, report: Report) -> Iterable[bytes]:
    """Yield each hit with its number: an attempt that was delivered and hit twice was counted twice as well."""
    for number, hit in enumerate(report.hits, report.first):
        yield msgspec.json.encode((source, number, hit.gremlin, hit.order_id, hit.attempt))


def _parse_live(raw: bytes | None, ttl: int, halted: int) -> tuple[Activation | None, float]:
    """Return the activation and its remaining seconds; no activation while halted, or if its key does not expire."""
    if raw is None or halted or ttl <= 0 or (activation := _decode(raw)) is None:
        return None, 0.0
    return activation, min(ttl / 1000, activation.ttl_seconds, MAX_TTL)


def _decode(raw: bytes) -> Activation | None:
    """Decode an activation; None for the value of another program or version."""
    try:
        return _activation.decode(raw)
    except msgspec.DecodeError:
        log.warning("ignored an activation in redis that cannot be decoded")
        return None


def _decode_valid(values: Iterable[bytes], decoder: msgspec.json.Decoder[T]) -> list[T]:
    """Decode the values that this version can read and ignore others."""
    found: list[T] = []
    for raw in values:
        with contextlib.suppress(msgspec.DecodeError):
            found.append(decoder.decode(raw))
    return found


def _activation_view(activation: Activation, remaining: float, table: dict[bytes, bytes]) -> ActivationView:
    counted = _decode_valid(table.values(), _counts)
    return ActivationView(
        **msgspec.structs.asdict(activation),
        remaining_seconds=round(remaining, 3),
        acknowledged=sorted({_decode_text(field).partition("/")[0] for field in table}),
        counts=Counts(
            latency=_sum(counts.latency for counts in counted),
            crash=_sum(counts.crash for counts in counted),
            partial_failure=_sum(counts.partial_failure for counts in counted),
        ),
    )


def _sum(hit_counts: Iterable[HitCount]) -> HitCount:
    total = HitCount()
    for count in hit_counts:
        total.rolls += count.rolls
        total.hits += count.hits
    return total


def _decode_text(raw: bytes | str) -> str:
    return raw.decode(errors="replace") if isinstance(raw, bytes) else raw


def _counts_key(activation_id: str) -> str:
    return f"chaos:counts:{activation_id}"


def _hits_key(activation_id: str) -> str:
    return f"chaos:hits:{activation_id}"


def _script_key(activation_id: str) -> str:
    return f"chaos:script:{activation_id}"


def _reported_key(replica: str, process: str) -> str:
    return f"chaos:reported:{replica}/{process}"


def _replica_key(replica: str) -> str:
    return f"chaos:replica:{replica}"
