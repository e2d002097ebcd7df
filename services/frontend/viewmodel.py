"""Builds the template variables of each panel from a snapshot. Pure."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID

import msgspec

from services.frontend.event_stream import Point
from services.frontend.snapshot import Observation, ReplicaHealth, Snapshot
from services.frontend.traffic import AVERAGE_LIMIT
from services.frontend.wire import Activation, Audit, Breaker, Chaos, ReplicaBreaker, Transition

Severity = Literal["good", "chaos", "warning", "bad"]
View: TypeAlias = dict[str, Any]

TIMELINE_SPAN = timedelta(minutes=2)
TIMELINE_WIDTH = 1000.0  # SVG units
MAX_ORDERS_SHOWN = 20
LOW_STOCK = 10


class Headline(msgspec.Struct, frozen=True):
    """The platform's state in one sentence, and its consequences."""

    severity: Severity
    message: str
    consequences: Sequence[str] = ()


class Segment(msgspec.Struct, frozen=True):
    """A part of a timeline during which a breaker was in one state."""

    state: str
    x: float
    width: float
    label: str


class BreakerTimeline(msgspec.Struct, frozen=True):
    """The recent states of one replica's breaker."""

    breaker: ReplicaBreaker
    segments: Sequence[Segment]


class Bar(msgspec.Struct, frozen=True):
    """The stock of an item. `share` is relative to the largest stock, from 0 to 1."""

    item_id: str
    name: str
    quantity: int
    share: float
    is_low: bool


class Gremlin(msgspec.Struct, frozen=True):
    """One live gremlin: its effect, rate, and counts."""

    name: str
    effect: str
    rate: float
    rolls: int
    hits: int


class Countdown(msgspec.Struct, frozen=True):
    """The remaining time of an activation: seconds, and the share of its time to live from 0 to 1."""

    seconds: float
    share: float


GREMLINS = {
    "latency": "responses are delayed",
    "crash": "calls get 500, 503 or no response, before any work",
    "partial_failure": "stock is deducted, then the response is lost",
}


def panels(snapshot: Snapshot, audit: Observation[Audit], resend_counts: Mapping[UUID, int]) -> dict[str, View]:
    """Return the template variables of each panel."""
    return {
        "headline": {"headline": headline(snapshot)},
        "health": {"replicas": snapshot.replicas},
        "breaker": {
            "observation": snapshot.breaker,
            "timelines": breaker_timelines(snapshot.breaker.value, snapshot.at),
        },
        "figures": {"observation": snapshot.traffic, "traffic": snapshot.traffic.value, "limit": AVERAGE_LIMIT},
        "queue": {"observation": snapshot.queue, "queue": snapshot.queue.value},
        "chaos": {"observation": snapshot.chaos, "chaos": snapshot.chaos.value, **chaos(snapshot.chaos.value)},
        "orders": {
            "observation": snapshot.orders,
            "orders": (snapshot.orders.value or [])[:MAX_ORDERS_SHOWN],
            "resend_counts": resend_counts,
        },
        "stock": {"observation": snapshot.stock, "bars": bars(snapshot)},
        "audit": {"observation": audit, "audit": audit.value},
    }


def point(snapshot: Snapshot) -> Point:
    """Return a chart point: time, average and percentiles in seconds, orders per second, queue depth."""
    traffic, queue = snapshot.traffic, snapshot.queue
    current = traffic.value if traffic.fault is None else None
    times = (current.average, current.p50, current.p95, current.p99) if current else (None,) * 4
    rates = [current.rates.get(status, 0.0) if current else None for status in ("confirmed", "queued", "failed")]
    waiting = float(queue.value.depth) if queue.value and queue.fault is None else None
    return (snapshot.at.timestamp(), *(_finite(time) for time in times), *rates, waiting)


def headline(snapshot: Snapshot) -> Headline:
    """Return the most severe condition first: unreachable services, injected faults, then degraded parts."""
    unreachable = [f"{service} does not respond" for service in _unreachable(snapshot.replicas)]
    live = snapshot.chaos.value.live if snapshot.chaos.value and snapshot.chaos.fault is None else None
    consequences = [*_breaker_messages(snapshot.breaker), *_queue_messages(snapshot)]
    if unreachable and live is None:
        return Headline("bad", _sentence(unreachable), consequences)
    if live is not None:
        return Headline("chaos", f"Injected faults: {_gremlins(live)}.", [*map(_capital, unreachable), *consequences])
    degraded = [
        f"{replica.health.replica} is {replica.health.status}"
        for replica in snapshot.replicas
        if replica.health and replica.health.status != "ok"
    ]
    gone = [
        f"one replica of {replica.service} does not respond" for replica in snapshot.replicas if replica.health is None
    ]
    if degraded or gone:
        return Headline("warning", _sentence([*degraded, *gone]), consequences)
    if consequences:
        return Headline("warning", consequences[0], consequences[1:])
    if not snapshot.replicas:
        return Headline("warning", "No data yet.")
    return Headline("good", "All is well.")


def breaker_timelines(breaker: Breaker | None, now: datetime) -> list[BreakerTimeline]:
    """Return the recent states of each replica's breaker."""
    if breaker is None:
        return []
    return [BreakerTimeline(one, segments(one, breaker.history, now)) for one in breaker.replicas]


def segments(replica: ReplicaBreaker, history: Iterable[Transition], now: datetime) -> list[Segment]:
    """Return the states of one breaker within the timeline, oldest first."""
    begin = now - TIMELINE_SPAN
    ends = [*_changes(replica, history), (now, "", None)]
    found = []
    for (since, state, reason), (until, *_) in itertools.pairwise(ends):
        if until <= begin:
            continue
        first = max(since, begin)
        x, width = (TIMELINE_WIDTH * (stretch / TIMELINE_SPAN) for stretch in (first - begin, until - first))
        found.append(Segment(state, round(x, 1), round(max(width, 3.0), 1), f"{state}: {reason}" if reason else state))
    return found


def bars(snapshot: Snapshot) -> list[Bar]:
    """Return the stock of each item."""
    items = snapshot.stock.value or []
    most = max((item.quantity for item in items), default=0) or 1
    return [
        Bar(
            item.item_id,
            item.item_name or item.item_id,
            item.quantity,
            item.quantity / most,
            item.quantity <= LOW_STOCK,
        )
        for item in items
    ]


def chaos(state: Chaos | None) -> View:
    """Return the live gremlins and their remaining time."""
    live = state.live if state else None
    if live is None:
        return {"live": None, "gremlins": [], "countdown": None}
    rates = {
        "latency": live.latency_rate if live.latency else 0.0,
        "crash": live.crash_rate,
        "partial_failure": live.partial_failure_rate,
    }
    return {
        "live": live,
        "gremlins": [_gremlin(live, name, rate) for name, rate in rates.items() if rate > 0],
        "countdown": Countdown(live.remaining_seconds, min(1.0, live.remaining_seconds / live.ttl_seconds)),
    }


def _gremlin(live: Activation, name: str, rate: float) -> Gremlin:
    count = live.counts.get(name)
    effect = f"responses are delayed by {live.latency_ms / 1000:g} s" if name == "latency" else GREMLINS[name]
    return Gremlin(name.replace("_", "-"), effect, rate, count.rolls if count else 0, count.hits if count else 0)


def _gremlins(live: Activation) -> str:
    parts = []
    if live.latency and live.latency_rate:
        parts.append(f"latency {live.latency_ms / 1000:g} s on {live.latency_rate:.0%} of calls")
    if live.crash_rate:
        parts.append(f"crash {live.crash_rate:.0%}")
    if live.partial_failure_rate:
        parts.append(f"partial failure {live.partial_failure_rate:.0%}")
    return ", ".join(parts) or "gremlins that follow a script"


def _unreachable(replicas: Sequence[ReplicaHealth]) -> list[str]:
    """Return the services without a replica that responds."""
    services = dict.fromkeys(replica.service for replica in replicas)
    return [service for service in services if not any(one.health for one in replicas if one.service == service)]


def _breaker_messages(breakers: Observation[Breaker]) -> list[str]:
    if breakers.value is None or breakers.fault is not None:
        return []
    consequences = {"open": "orders are accepted and queued", "half-open": "the next call is a trial"}
    return [
        f"The breaker of {one.replica} is {one.state}: {consequences[one.state]}."
        for one in breakers.value.replicas
        if one.state != "closed"
    ]


def _queue_messages(snapshot: Snapshot) -> list[str]:
    queue = snapshot.queue.value
    if queue is None or snapshot.queue.fault is not None:
        return []
    messages = []
    if queue.depth:
        messages.append(f"{queue.depth:,} {'order waits' if queue.depth == 1 else 'orders wait'} to be finished.")
    if queue.dead:
        messages.append(f"{queue.dead:,} {'order is' if queue.dead == 1 else 'orders are'} dead.")
    return messages


def _changes(replica: ReplicaBreaker, history: Iterable[Transition]) -> list[tuple[datetime, str, str | None]]:
    """Return the time of each change of state, oldest first. The replica's current state wins over the history."""
    own = sorted((one for one in history if one.replica == replica.replica), key=lambda one: one.at)
    changes = [(one.at, one.to, one.reason) for one in own]
    if own and own[0].from_:
        changes.insert(0, (datetime.min.replace(tzinfo=own[0].at.tzinfo), own[0].from_, None))
    if not own or own[-1].to != replica.state:
        changes.append((replica.since, replica.state, replica.reason))
    return changes


def _finite(seconds: float | None) -> float | None:
    return None if seconds is None or math.isinf(seconds) else seconds


def _sentence(parts: Sequence[str]) -> str:
    return _capital("; ".join(parts)) + "."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
