"""From what was seen to what the page says: values in, values out, one function for each panel. Pure."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID

import msgspec

from services.frontend.feed import Point
from services.frontend.metering import LIMIT
from services.frontend.sights import Seen, Sights, Tile
from services.frontend.wire import Activation, Audit, Breaker, Chaos, ReplicaBreaker, Transition

Mood = Literal["good", "chaos", "warning", "bad"]
View: TypeAlias = dict[str, Any]

SHOWN = timedelta(minutes=2)
"""What the lanes of the breaker show."""
LANE = 1000.0
"""Units that a lane is long."""
ORDERS = 20
"""Orders that the page lists."""
LOW = 10
"""How many of an item are few."""


class Headline(msgspec.Struct, frozen=True):
    """The page in one sentence, and what follows from it."""

    mood: Mood
    says: str
    besides: Sequence[str] = ()


class Segment(msgspec.Struct, frozen=True):
    """A stretch of a lane during which a breaker was in one state."""

    state: str
    x: float
    width: float
    says: str


class Lane(msgspec.Struct, frozen=True):
    breaker: ReplicaBreaker
    segments: Sequence[Segment]


class Bar(msgspec.Struct, frozen=True):
    """How much of an item is left; `share` is of the fullest one, from 0 to 1."""

    item_id: str
    name: str
    quantity: int
    share: float
    is_low: bool


class Gremlin(msgspec.Struct, frozen=True):
    """One of the three: whether it is live, how often it strikes, and what it has done."""

    name: str
    does: str
    rate: float
    rolls: int
    hits: int


class Ring(msgspec.Struct, frozen=True):
    """What is left of a lease: seconds, and its share of the whole from 0 to 1."""

    seconds: float
    share: float


GREMLINS = {
    "latency": "answers come late",
    "crash": "calls end in 500, 503 or nothing, before any work",
    "partial_failure": "stock is taken, then the answer is lost",
}


def panels(sights: Sights, audit: Seen[Audit], repeats: Mapping[UUID, int]) -> dict[str, View]:
    """What each panel's template is told."""
    return {
        "headline": {"headline": headline(sights)},
        "health": {"tiles": sights.tiles},
        "breaker": {"seen": sights.breaker, "lanes": lanes(sights.breaker.value, sights.at)},
        "figures": {"seen": sights.traffic, "traffic": sights.traffic.value, "limit": LIMIT},
        "queue": {"seen": sights.queue, "queue": sights.queue.value},
        "chaos": {"seen": sights.chaos, "chaos": sights.chaos.value, **chaos(sights.chaos.value)},
        "orders": {"seen": sights.orders, "orders": (sights.orders.value or [])[:ORDERS], "repeats": repeats},
        "stock": {"seen": sights.stock, "bars": bars(sights)},
        "audit": {"seen": audit, "audit": audit.value},
    }


def point(sights: Sights) -> Point:
    """What the charts get: time, the average and percentiles of answers in seconds, orders a second, the queue."""
    traffic, queue = sights.traffic, sights.queue
    known = traffic.value if traffic.fault is None else None
    times = (known.average, known.p50, known.p95, known.p99) if known else (None,) * 4
    rates = [known.rates.get(status, 0.0) if known else None for status in ("confirmed", "queued", "failed")]
    waiting = float(queue.value.depth) if queue.value and queue.fault is None else None
    return (sights.at.timestamp(), *(_finite(time) for time in times), *rates, waiting)


def headline(sights: Sights) -> Headline:
    """The worst first: who does not answer, what is broken on purpose, what the platform does about it."""
    silent = [f"{service} does not answer" for service in _silent(sights.tiles)]
    live = sights.chaos.value.live if sights.chaos.value and sights.chaos.fault is None else None
    follows = [*_about_breakers(sights.breaker), *_about_queue(sights)]
    if silent and live is None:
        return Headline("bad", _sentence(silent), follows)
    if live is not None:
        return Headline("chaos", f"Broken on purpose: {_gremlins(live)}.", [*map(_capital, silent), *follows])
    ailing = [
        f"{tile.health.replica} is {tile.health.status}"
        for tile in sights.tiles
        if tile.health and tile.health.status != "ok"
    ]
    gone = [f"one replica of {tile.service} does not answer" for tile in sights.tiles if tile.health is None]
    if ailing or gone:
        return Headline("warning", _sentence([*ailing, *gone]), follows)
    if follows:
        return Headline("warning", follows[0], follows[1:])
    if not sights.tiles:
        return Headline("warning", "Nothing has been looked at yet.")
    return Headline("good", "All is well.")


def lanes(breaker: Breaker | None, now: datetime) -> list[Lane]:
    """What each replica's breaker did lately."""
    if breaker is None:
        return []
    return [Lane(one, segments(one, breaker.history, now)) for one in breaker.replicas]


def segments(replica: ReplicaBreaker, history: Iterable[Transition], now: datetime) -> list[Segment]:
    """The states of one breaker within what is shown, oldest first."""
    begin = now - SHOWN
    ends = [*_changes(replica, history), (now, "", None)]
    found = []
    for (since, state, reason), (until, *_) in itertools.pairwise(ends):
        if until <= begin:
            continue
        first = max(since, begin)
        x, width = (LANE * (stretch / SHOWN) for stretch in (first - begin, until - first))
        found.append(Segment(state, round(x, 1), round(max(width, 3.0), 1), f"{state}: {reason}" if reason else state))
    return found


def bars(sights: Sights) -> list[Bar]:
    items = sights.stock.value or []
    most = max((item.quantity for item in items), default=0) or 1
    return [
        Bar(
            item.item_id,
            item.item_name or item.item_id,
            item.quantity,
            item.quantity / most,
            item.quantity <= LOW,
        )
        for item in items
    ]


def chaos(seen: Chaos | None) -> View:
    """The gremlins that are live, and how long they have left."""
    live = seen.live if seen else None
    if live is None:
        return {"live": None, "gremlins": [], "ring": None}
    rates = {
        "latency": live.latency_rate if live.latency else 0.0,
        "crash": live.crash_rate,
        "partial_failure": live.partial_failure_rate,
    }
    return {
        "live": live,
        "gremlins": [_gremlin(live, name, rate) for name, rate in rates.items() if rate > 0],
        "ring": Ring(live.remaining_seconds, min(1.0, live.remaining_seconds / live.ttl_seconds)),
    }


def _gremlin(live: Activation, name: str, rate: float) -> Gremlin:
    count = live.counts.get(name)
    does = f"answers come {live.latency_ms / 1000:g} s late" if name == "latency" else GREMLINS[name]
    return Gremlin(name.replace("_", "-"), does, rate, count.rolls if count else 0, count.hits if count else 0)


def _gremlins(live: Activation) -> str:
    says = []
    if live.latency and live.latency_rate:
        says.append(f"latency {live.latency_ms / 1000:g} s on {live.latency_rate:.0%} of calls")
    if live.crash_rate:
        says.append(f"crash {live.crash_rate:.0%}")
    if live.partial_failure_rate:
        says.append(f"partial failure {live.partial_failure_rate:.0%}")
    return ", ".join(says) or "gremlins that hit what a script names"


def _silent(tiles: Sequence[Tile]) -> list[str]:
    """The services of which no replica answers."""
    services = dict.fromkeys(tile.service for tile in tiles)
    return [service for service in services if not any(tile.health for tile in tiles if tile.service == service)]


def _about_breakers(seen: Seen[Breaker]) -> list[str]:
    if seen.value is None or seen.fault is not None:
        return []
    follows = {"open": "orders are accepted and queued", "half-open": "the next call is its trial"}
    return [
        f"The breaker of {one.replica} is {one.state}: {follows[one.state]}."
        for one in seen.value.replicas
        if one.state != "closed"
    ]


def _about_queue(sights: Sights) -> list[str]:
    queue = sights.queue.value
    if queue is None or sights.queue.fault is not None:
        return []
    says = []
    if queue.depth:
        says.append(f"{queue.depth:,} {'order waits' if queue.depth == 1 else 'orders wait'} to be finished.")
    if queue.dead:
        says.append(f"{queue.dead:,} {'order is' if queue.dead == 1 else 'orders are'} dead.")
    return says


def _changes(replica: ReplicaBreaker, history: Iterable[Transition]) -> list[tuple[datetime, str, str | None]]:
    """When it came into each state, oldest first; what it said of itself last counts more than what was written."""
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
