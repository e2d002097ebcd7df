"""Breakers decide alone, replica by replica; Redis carries what each tells the others and what an operator forces."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias, TypeVar

import msgspec
import structlog

from services.common.background import forever
from services.common.redis import BestEffort, Redis
from services.order.breaker import Breaker, Forced, State, Transition
from services.order.metrics import BREAKER_STATE, BREAKER_TRANSITIONS, STATES, breaker_calls
from services.order.settings import OrderSettings
from services.order.window import failure_percent, failures

log = structlog.get_logger()

REPLICAS, HISTORY, FORCED = "breaker:replicas", "breaker:history", "breaker:forced"
EXCHANGE_EVERY = 0.25  # seconds
SILENT_AFTER = timedelta(seconds=5)  # a replica not heard of for so long is gone
FORGOTTEN_AFTER = timedelta(hours=1)
REMEMBERED = 100  # transitions

T = TypeVar("T")
Command: TypeAlias = Forced | Literal["auto"]
COMMANDS: dict[bytes | None, Command] = {b"open": "open", b"closed": "closed"}


class Window(msgspec.Struct, frozen=True):
    """The calls a breaker judges by."""

    seconds: float
    calls: int
    failures: int
    failure_percent: float
    threshold_percent: int
    minimum_calls: int
    outcomes: dict[str, int]


class ReplicaView(msgspec.Struct, frozen=True):
    """One replica's breaker as it was at `updated_at`."""

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


class FleetView(msgspec.Struct, frozen=True):
    """Every replica heard of lately, and their transitions, newest first."""

    replicas: list[ReplicaView]
    history: list[HistoryEntry]


class Fleet:
    """This replica's breaker among the others."""

    def __init__(
        self,
        settings: OrderSettings,
        role: Literal["order", "worker"],
        redis: BestEffort,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`now` is this machine's clock. What replicas tell each other is dated by Redis', which is one for all."""
        self._settings = settings
        self._now = now
        self._redis_ahead = timedelta()
        self._role: Literal["order", "worker"] = role
        self._redis = redis
        self._own: list[HistoryEntry] = []
        self._unpublished: list[HistoryEntry] = []
        self._command: Command | None = None
        self._one_at_a_time = asyncio.Lock()
        self.breaker = Breaker(
            window_seconds=settings.breaker_window_seconds,
            minimum_calls=settings.breaker_minimum_calls,
            threshold_percent=settings.breaker_threshold_percent,
            open_seconds=settings.breaker_open_seconds,
            on_transition=self._note,
            on_call=lambda outcome: breaker_calls(outcome).inc(),
        )

    def own_view(self) -> ReplicaView:
        breaker, outcomes = self.breaker, self.breaker.window.outcomes()
        return ReplicaView(
            replica=self._settings.replica,
            role=self._role,
            state=breaker.shown,
            since=breaker.since,
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
            retry_in_seconds=round(breaker.retry_in(), 2) if breaker.shown == "open" and not breaker.forced else None,
            updated_at=self._now() + self._redis_ahead,
        )

    async def view(self) -> FleetView:
        """Everybody's breaker as last heard of; without Redis, our own."""

        async def fetch(redis: Redis) -> tuple[list[ReplicaView], list[HistoryEntry]]:
            async with redis.pipeline(transaction=False) as pipe:
                pipe.hvals(REPLICAS)
                pipe.lrange(HISTORY, 0, REMEMBERED - 1)
                replicas, history = await pipe.execute()
            return _readable(replicas, ReplicaView), _readable(history, HistoryEntry)

        own = self.own_view()
        nothing: tuple[list[ReplicaView], list[HistoryEntry]] = ([], [])
        told, published = await self._redis(fetch, nothing)
        # Who is dated in the future is as silent as in the past: it told of itself before Redis' clock was set back.
        others = [(view, abs(own.updated_at - view.updated_at)) for view in told if view.replica != own.replica]
        await self._forget([view.replica for view, silent in others if silent > FORGOTTEN_AFTER])
        heard = [view for view, silent in others if silent < SILENT_AFTER]
        return FleetView(
            replicas=sorted([own, *heard], key=lambda view: view.replica),
            history=[*reversed(self._unpublished), *published] if published else [*reversed(self._own)],
        )

    async def force(self, forced: Forced | None) -> None:
        """Override every replica's breaker within a second, ours at once; None lets the calls decide again.

        While Redis is away the command waits with us, and reaches the others once it is back.
        """
        self.breaker.force(forced)
        self._command = forced or "auto"
        await self.exchange()

    async def keep_in_touch(self) -> None:
        """Publish our breaker and follow what an operator forces, until cancelled."""
        await forever("exchange breaker states", self.exchange, EXCHANGE_EVERY)

    async def exchange(self) -> None:
        """Tell our state, our transitions and what an operator told us; then do as the fleet was told last."""
        async with self._one_at_a_time:  # two would publish the same transitions
            self.breaker.tick()
            entries, command = list(self._unpublished), self._command

            async def swap(redis: Redis) -> Command:
                async with redis.pipeline(transaction=False) as pipe:
                    pipe.hset(REPLICAS, self._settings.replica, msgspec.json.encode(self.own_view()))
                    if entries:
                        pipe.lpush(HISTORY, *(msgspec.json.encode(entry) for entry in entries))
                        pipe.ltrim(HISTORY, 0, REMEMBERED - 1)
                    if command == "auto":
                        pipe.delete(FORCED)
                    elif command is not None:
                        pipe.set(FORCED, command)
                    pipe.time()
                    pipe.get(FORCED)
                    *_, (seconds, microseconds), raw = await pipe.execute()
                there = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)
                self._redis_ahead = there - self._now()
                return COMMANDS.get(raw, "auto")

            told = await self._redis(swap, None)
            if told is None:
                return
            del self._unpublished[: len(entries)]
            if self._command == command:  # else an operator spoke meanwhile, and what we were told is old
                self._command = None
                self.breaker.force(None if told == "auto" else told)

    async def _forget(self, gone: list[str]) -> None:
        async def delete(redis: Redis) -> None:
            await redis.hdel(REPLICAS, *gone)

        if gone:
            await self._redis(delete, None)

    def _note(self, transition: Transition) -> None:
        BREAKER_STATE.set(STATES[transition.to])
        BREAKER_TRANSITIONS.labels(transition.from_, transition.to).inc()
        entry = HistoryEntry(self._settings.replica, transition.at, transition.from_, transition.to, transition.reason)
        self._own = [*self._own[1 - REMEMBERED :], entry]
        self._unpublished = [*self._unpublished[1 - REMEMBERED :], entry]
        log.warning("breaker", **{"from": transition.from_, "to": transition.to, "why": transition.reason})


def _readable(values: list[bytes], kind: type[T]) -> list[T]:
    """Decode what this version can read; another may have written the rest."""
    found: list[T] = []
    for raw in values:
        with contextlib.suppress(msgspec.DecodeError):
            found.append(msgspec.json.decode(raw, type=kind))
    return found
