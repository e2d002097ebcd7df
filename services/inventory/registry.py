"""What Redis holds about gremlins: the live activation and its script, the halt flag, who follows, what was hit.

Each function is one exchange, and what goes wrong in it is one of `services.common.redis.FAILURES`. Losing all of it
ends the gremlins and nothing else; the replicas tell again what they counted.
"""

import contextlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import structlog

from services.common.redis import Redis, exchange
from services.inventory.drills import DrillLease
from services.inventory.gremlins import TTL_LIMIT, Activation, Gremlin, Hit, Script

log = structlog.get_logger()

T = TypeVar("T")

LIVE, HALTED, REPLICAS, RECENT = "chaos:live", "chaos:halted", "chaos:replicas", "chaos:recent"
SILENT_AFTER = 1000  # milliseconds after which a replica not heard of is gone
KEPT = 86_400  # seconds that ended activations are remembered
SHOWN = 20  # of them
REMEMBERED = 100


class Tally(msgspec.Struct):
    """How often a gremlin had its chance, and how often it took it."""

    rolls: int = 0
    hits: int = 0


class Counts(msgspec.Struct):
    latency: Tally = msgspec.field(default_factory=Tally)
    crash: Tally = msgspec.field(default_factory=Tally)
    partial_failure: Tally = msgspec.field(default_factory=Tally)

    @property
    def hits(self) -> int:
        return self.latency.hits + self.crash.hits + self.partial_failure.hits


class ActivationView(Activation, frozen=True, kw_only=True):
    """An activation as all replicas together see it; `remaining_seconds` is 0 once it ended."""

    remaining_seconds: float
    acknowledged: list[str]
    counts: Counts


class ChaosView(msgspec.Struct, frozen=True):
    """The live activation, those that ended, newest first, and the drill that has the platform to itself."""

    halted: bool
    live: ActivationView | None
    recent: list[ActivationView]
    drill: DrillLease | None = None


class HitsView(msgspec.Struct, frozen=True):
    """Every attempt that an activation hit, over all replicas.

    Not `complete`: more was counted than is listed, since a process keeps so many hits and no more, or has yet to tell
    the last of them.
    """

    activation_id: str
    hits: list[Hit]
    complete: bool


class Seen(msgspec.Struct, frozen=True):
    """What a process found: the live activation and the seconds it has left.

    `forgotten`: Redis does not know of any report of this process, so it never got one, or lost them all.
    """

    live: Activation | None
    remaining: float
    forgotten: bool


class Report(msgspec.Struct, frozen=True):
    """What one process counted during one activation, from its beginning, and what it hit after its `first` hits."""

    activation: Activation
    counts: Counts
    first: int
    hits: list[Hit]


_activation = msgspec.json.Decoder(Activation)
_counts = msgspec.json.Decoder(Counts)
_script = msgspec.json.Decoder(list[Hit])
_told_hit = msgspec.json.Decoder(tuple[str, int, Gremlin, UUID, int])  # by whom, its number there, and the hit itself


@exchange()
async def look(redis: Redis, replica: str, process: str, following: str | None) -> Seen:
    """Find what is live, and say that `replica` is alive and what it follows."""
    async with redis.pipeline() as pipe:
        _read_live(pipe)
        pipe.exists(_reported_key(replica, process))
        _say_alive(pipe, replica, following)
        raw, ttl, halted, reported, *_ = await pipe.execute()
    live, remaining = _live(raw, ttl, halted)
    return Seen(live, remaining, not reported)


@exchange()
async def report(redis: Redis, replica: str, process: str, following: str | None, reports: list[Report]) -> bool:
    """Say what `process` of `replica` follows, counted and hit. Telling the same twice changes nothing.

    Returns whether Redis still knew of the report before this one.
    """
    who = f"{replica}/{process}"
    async with redis.pipeline() as pipe:
        pipe.set(_reported_key(replica, process), "1", ex=KEPT, get=True)
        _say_alive(pipe, replica, following)
        for told in reports:
            counts, hits = _counts_key(told.activation.id), _hits_key(told.activation.id)
            _remember(pipe, told.activation)
            pipe.hset(counts, who, msgspec.json.encode(told.counts))
            pipe.expire(counts, KEPT)
            if told.hits:
                pipe.sadd(hits, *_members(who, told))
            pipe.expire(hits, KEPT)
        return (await pipe.execute())[0] is not None


@exchange()
async def time_and_halt(redis: Redis) -> tuple[datetime, bool]:
    """Return the time by Redis' clock, which all replicas share, and whether gremlins are halted."""
    async with redis.pipeline() as pipe:
        pipe.time()
        pipe.exists(HALTED)
        (seconds, microseconds), halted = await pipe.execute()
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds), bool(halted)


@exchange()
async def activate(redis: Redis, activation: Activation, only: list[Hit] | None) -> None:
    """Make `activation` the live one until its time is up, and keep its script, if it has one, as long."""
    async with redis.pipeline() as pipe:
        if only is not None:
            pipe.set(_script_key(activation.id), msgspec.json.encode(only), ex=activation.ttl_seconds)
        pipe.set(LIVE, msgspec.json.encode(activation), ex=activation.ttl_seconds)
        _remember(pipe, activation)
        pipe.zremrangebyscore(RECENT, "-inf", activation.set_at.timestamp() - KEPT)
        pipe.zremrangebyrank(RECENT, 0, -REMEMBERED - 1)
        await pipe.execute()


@exchange()
async def script(redis: Redis, activation_id: str) -> Script | None:
    """Return what a scripted activation is to hit; None when Redis has lost it, or holds what makes no sense."""
    raw = await redis.get(_script_key(activation_id))
    try:
        return None if raw is None else frozenset(_script.decode(raw))
    except msgspec.DecodeError:
        return None


@exchange()
async def end(redis: Redis, *, halt: bool | None = None) -> Activation | None:
    """End what is live and return it; set or lift the halt flag with it."""
    async with redis.pipeline() as pipe:
        _read_live(pipe)
        if halt is not False:
            pipe.delete(LIVE)
        if halt is True:
            pipe.set(HALTED, "1")
        if halt is False:
            pipe.delete(HALTED)
        raw, ttl, halted, *_ = await pipe.execute()
    return _live(raw, ttl, halted)[0]


@exchange()
async def followed(redis: Redis) -> dict[str, str]:
    """Return the replicas heard of within the last second, each with the id it follows, empty for none."""
    names: list[str] = sorted(map(_text, await redis.smembers(REPLICAS)))
    if not names:
        return {}
    told = await redis.mget([_replica_key(name) for name in names])
    silent = [name for name, raw in zip(names, told, strict=True) if raw is None]
    if silent:
        await redis.srem(REPLICAS, *silent)
    return {name: _text(raw) for name, raw in zip(names, told, strict=True) if raw is not None}


@exchange()
async def view(redis: Redis) -> ChaosView:
    """Return everything, with the counts of all processes summed."""
    async with redis.pipeline() as pipe:
        _read_live(pipe)
        pipe.zrevrange(RECENT, 0, SHOWN)
        raw, ttl, halted, remembered = await pipe.execute()
    live, remaining = _live(raw, ttl, halted)
    activations = [found for found in map(_decode, remembered) if found is not None]
    ended = [found for found in activations if live is None or found.id != live.id][:SHOWN]
    shown = ([] if live is None else [live]) + ended
    if not shown:
        return ChaosView(bool(halted), None, [])
    async with redis.pipeline(transaction=False) as pipe:
        for activation in shown:
            pipe.hgetall(_counts_key(activation.id))
        tables = await pipe.execute()
    views = [
        _summed(activation, remaining if activation is live else 0.0, table)
        for activation, table in zip(shown, tables, strict=True)
    ]
    return ChaosView(bool(halted), None if live is None else views[0], views if live is None else views[1:])


@exchange()
async def hits(redis: Redis, activation_id: str) -> HitsView | None:
    """Return what all processes together hit, each attempt once, by order; None when nobody followed such a thing."""
    async with redis.pipeline() as pipe:
        pipe.hgetall(_counts_key(activation_id))
        pipe.smembers(_hits_key(activation_id))
        table, members = await pipe.execute()
    if not table:
        return None
    counted = sum(counts.hits for counts in _readable(table.values(), _counts))
    told = _readable(members, _told_hit)
    found = {Hit(gremlin, order_id, attempt) for _, _, gremlin, order_id, attempt in told}
    listed = sorted(found, key=lambda hit: (hit.order_id.int, hit.attempt, hit.gremlin))
    return HitsView(activation_id, listed, complete=len(told) >= counted)


def _read_live(pipe: Any) -> None:
    pipe.get(LIVE)
    pipe.pttl(LIVE)
    pipe.exists(HALTED)


def _say_alive(pipe: Any, replica: str, following: str | None) -> None:
    pipe.set(_replica_key(replica), following or "", px=SILENT_AFTER)
    pipe.sadd(REPLICAS, replica)


def _remember(pipe: Any, activation: Activation) -> None:
    pipe.zadd(RECENT, {msgspec.json.encode(activation): activation.set_at.timestamp()})
    pipe.expire(RECENT, KEPT)


def _members(who: str, told: Report) -> Iterable[bytes]:
    """Each hit with its number there: an attempt that came twice and was hit twice was counted twice as well."""
    for number, hit in enumerate(told.hits, told.first):
        yield msgspec.json.encode((who, number, hit.gremlin, hit.order_id, hit.attempt))


def _live(raw: bytes | None, ttl: int, halted: int) -> tuple[Activation | None, float]:
    """Return the activation and the seconds it has left: none while halted, and none that does not expire."""
    if raw is None or halted or ttl <= 0 or (activation := _decode(raw)) is None:
        return None, 0.0
    return activation, min(ttl / 1000, activation.ttl_seconds, TTL_LIMIT)


def _decode(raw: bytes) -> Activation | None:
    """A value that is not ours, or not of this version, is no activation."""
    try:
        return _activation.decode(raw)
    except msgspec.DecodeError:
        log.warning("an activation in Redis makes no sense, passing it over")
        return None


def _readable(values: Iterable[bytes], decoder: msgspec.json.Decoder[T]) -> list[T]:
    """Decode what this version can read; another, or somebody else, may have written the rest."""
    found: list[T] = []
    for raw in values:
        with contextlib.suppress(msgspec.DecodeError):
            found.append(decoder.decode(raw))
    return found


def _summed(activation: Activation, remaining: float, table: dict[bytes, bytes]) -> ActivationView:
    counted = _readable(table.values(), _counts)
    return ActivationView(
        **msgspec.structs.asdict(activation),
        remaining_seconds=round(remaining, 3),
        acknowledged=sorted({_text(field).partition("/")[0] for field in table}),
        counts=Counts(
            latency=_sum(counts.latency for counts in counted),
            crash=_sum(counts.crash for counts in counted),
            partial_failure=_sum(counts.partial_failure for counts in counted),
        ),
    )


def _sum(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total.rolls += tally.rolls
        total.hits += tally.hits
    return total


def _text(raw: bytes | str) -> str:
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
