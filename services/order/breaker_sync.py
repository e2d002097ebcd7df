"""Shares breaker states through Redis. Each breaker decides alone; an operator's forced state applies to all."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias, TypeVar

import msgspec
import structlog

from services.common.background import run_periodically
from services.common.redis import BestEffort, Redis
from services.order.breaker import Breaker, Forced, State, Transition
from services.order.metrics import BREAKER_STATE, BREAKER_TRANSITIONS, STATES, breaker_calls
from services.order.rolling_window import failure_percent, failures
from services.order.settings import OrderSettings

log = structlog.get_logger()

REPLICAS, HISTORY, FORCED = "breaker:replicas", "breaker:history", "breaker:forced"
SYNC_INTERVAL = 0.25  # seconds
OFFLINE_AFTER = timedelta(seconds=5)  # a replica without an update for this long is not shown
FORGET_AFTER = timedelta(hours=1)  # its entry is deleted
MAX_HISTORY = 100  # transitions

T = TypeVar("T")
Command: TypeAlias = Forced | Literal["auto"]
COMMANDS: dict[bytes | None, Command] = {b"open": "open", b"closed": "closed"}


class Window(msgspec.Struct, frozen=True):
    """The calls by which a breaker decides."""

    seconds: float
    calls: int
    failures: int
    failure_percent: float
    threshold_percent: int
    minimum_calls: int
    outcomes: dict[str, int]


class ReplicaView(msgspec.Struct, frozen=True):
    """The breaker of one replica at `updated_at`."""

    replica: str
    role: Literal["order", "worker"]
    state: State
    since: datetime
    forced: Forced | None
    reason: str | None
    window: Window
    retry_in_seconds: float | None
    updated_at: datetime


class HistoryEntry(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """One transition of one replica's breaker."""

    replica: str
    at: datetime
    from_: str
    to: str
    reason: str


class BreakersView(msgspec.Struct, frozen=True):
    """The breakers of all online replicas, and their transitions, newest first."""

    replicas: list[ReplicaView]
    history: list[HistoryEntry]


class BreakerSync:
    """This replica's breaker, and its exchange with the other replicas."""

    def __init__(
        self,
        settings: OrderSettings,
        role: Literal["order", "worker"],
        redis: BestEffort,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`now` is this machine's clock. Timestamps that replicas share use Redis' clock, which is common to all."""
        self._settings = settings
        self._now = now
        self._redis_ahead = timedelta()
        self._role: Literal["order", "worker"] = role
        self._redis = redis
        self._own_history: list[HistoryEntry] = []
        self._unpublished: list[HistoryEntry] = []
        self._command: Command | None = None
        self._sync_lock = asyncio.Lock()
        self.breaker = Breaker(
            window_seconds=settings.breaker_window_seconds,
            minimum_calls=settings.breaker_minimum_calls,
            threshold_percent=settings.breaker_threshold_percent,
            open_seconds=settings.breaker_open_seconds,
            on_transition=self._record_transition,
            on_call=lambda outcome: breaker_calls(outcome).inc(),
        )

    def own_view(self) -> ReplicaView:
        """Return the state of this replica's breaker."""
        breaker, outcomes = self.breaker, self.breaker.window.outcomes()
        return ReplicaView(
            replica=self._settings.replica,
            role=self._role,
            state=breaker.effective_state,
            since=breaker.changed_at,
            forced=breaker.forced,
            reason=breaker.reason,
            window=Window(
                seconds=breaker.window.seconds,
                calls=sum(outcomes.values()),
                failures=failures(outcomes),
                failure_percent=round(failure_percent(outcomes), 1),
                threshold_percent=breaker.fail_max,
                minimum_calls=breaker.minimum_calls,
                outcomes=outcomes,
            ),
            retry_in_seconds=round(breaker.retry_in(), 2)
            if breaker.effective_state == "open" and not breaker.forced
            else None,
            updated_at=self._now() + self._redis_ahead,
        )

    async def view(self) -> BreakersView:
        """Return the last known state of all breakers; without Redis, only of this one."""

        async def fetch(redis: Redis) -> tuple[list[ReplicaView], list[HistoryEntry]]:
            async with redis.pipeline(transaction=False) as pipe:
                pipe.hvals(REPLICAS)
                pipe.lrange(HISTORY, 0, MAX_HISTORY - 1)
                replicas, history = await pipe.execute()
            return _decode_valid(replicas, ReplicaView), _decode_valid(history, HistoryEntry)

        own = self.own_view()
        nothing: tuple[list[ReplicaView], list[HistoryEntry]] = ([], [])
        stored, published = await self._redis(fetch, nothing)
        # A timestamp in the future is as outdated as one in the past: it was written before Redis' clock was set back.
        others = [(view, abs(own.updated_at - view.updated_at)) for view in stored if view.replica != own.replica]
        await self._delete([view.replica for view, age in others if age > FORGET_AFTER])
        online = [view for view, age in others if age < OFFLINE_AFTER]
        return BreakersView(
            replicas=sorted([own, *online], key=lambda view: view.replica),
            history=[*reversed(self._unpublished), *published] if published else [*reversed(self._own_history)],
        )

    async def force(self, forced: Forced | None) -> None:
        """Force the breaker of every replica: this one at once, others within a second. None means automatic operation.

        While Redis is unavailable, the command is kept here and reaches the others once Redis is back.
        """
        self.breaker.force(forced)
        self._command = forced or "auto"
        await self.sync()

    async def run(self) -> None:
        """Sync until cancelled."""
        await run_periodically("sync breaker states", self.sync, SYNC_INTERVAL)

    async def sync(self) -> None:
        """Publish this breaker's state, transitions and pending command, then apply the last command of any replica."""
        async with self._sync_lock:  # two syncs would publish the same transitions
            self.breaker.tick()
            entries, command = list(self._unpublished), self._command

            async def exchange(redis: Redis) -> Command:
                async with redis.pipeline(transaction=False) as pipe:
                    pipe.hset(REPLICAS, self._settings.replica, msgspec.json.encode(self.own_view()))
                    if entries:
                        pipe.lpush(HISTORY, *(msgspec.json.encode(entry) for entry in entries))
                        pipe.ltrim(HISTORY, 0, MAX_HISTORY - 1)
                    if command == "auto":
                        pipe.delete(FORCED)
                    elif command is not None:
                        pipe.set(FORCED, command)
                    pipe.time()
                    pipe.get(FORCED)
                    *_, (seconds, microseconds), raw = await pipe.execute()
                redis_now = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)
                self._redis_ahead = redis_now - self._now()
                return COMMANDS.get(raw, "auto")

            forced = await self._redis(exchange, None)
            if forced is None:
                return
            del self._unpublished[: len(entries)]
            if self._command == command:  # else a newer command arrived during the exchange
                self._command = None
                self.breaker.force(None if forced == "auto" else forced)

    async def _delete(self, gone: list[str]) -> None:
        async def delete(redis: Redis) -> None:
            await redis.hdel(REPLICAS, *gone)

        if gone:
            await self._redis(delete, None)

    def _record_transition(self, transition: Transition) -> None:
        BREAKER_STATE.set(STATES[transition.to])
        BREAKER_TRANSITIONS.labels(transition.from_, transition.to).inc()
        entry = HistoryEntry(self._settings.replica, transition.at, transition.from_, transition.to, transition.reason)
        self._own_history = [*self._own_history[1 - MAX_HISTORY :], entry]
        self._unpublished = [*self._unpublished[1 - MAX_HISTORY :], entry]
        log.warning(
            "breaker changed state", **{"from": transition.from_, "to": transition.to, "why": transition.reason}
        )


def _decode_valid(values: list[bytes], kind: type[T]) -> list[T]:
    """Decode the values that this version can read and ignore others."""
    found: list[T] = []
    for raw in values:
        with contextlib.suppress(msgspec.DecodeError):
            found.append(msgspec.json.decode(raw, type=kind))
    return found
