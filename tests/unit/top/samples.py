"""Sample snapshots of a platform."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from tests.unit.cli.samples import NOON, activation, order
from valerix_cli.audit.model import Audit, Coverage, Example, Invariant
from valerix_cli.clients.wire import (
    Breaker,
    BreakerTransition,
    BreakerWindow,
    Chaos,
    Count,
    Item,
    Queue,
    ReplicaBreaker,
)
from valerix_cli.top.feed import Feed, fold
from valerix_cli.top.model import Process, Reading, Services, Snapshot
from valerix_cli.top.rates import Traffic

WINDOW = BreakerWindow(10, 20, 12, 60.0, 50, 5)


def replica(name: str = "order-1", **changes: Any) -> ReplicaBreaker:
    plain = ReplicaBreaker(name, "order", "closed", NOON - timedelta(hours=1), None, None, WINDOW, None, NOON)
    return msgspec.structs.replace(plain, **changes)


def moved(seconds: float, before: str, to: str, name: str = "order-1") -> BreakerTransition:
    """Return a transition that many seconds after noon."""
    return BreakerTransition(name, NOON + timedelta(seconds=seconds), to, "a reason", before)


def item(item_id: str, quantity: int) -> Item:
    return Item(item_id, item_id.upper(), quantity, 0, NOON, NOON)


def snapshot(**changes: Any) -> Snapshot:
    """Return a platform under a gremlin: one breaker open, latency over the limit, orders queued."""
    names = ("inventory-1", "order-1", "order-2", "worker-1")
    processes = [Process(name, "running", "ok", 62.0, 0) for name in names]
    processes[0] = Process("inventory-1", "backing-off", "unreachable", 1.0, 3, -9)
    processes += [Process(name, "running", None, 70.0, 0) for name in ("postgres", "redis")]
    opened = replica(
        state="open", since=NOON, reason="12 of 20 calls failed in 10 s (12 timeouts)", retry_in_seconds=6.4
    )
    live = activation(remaining_seconds=42.0, counts={"latency": Count(50, 37)})
    plain = Snapshot(
        NOON,
        services=Reading(Services("running", processes, 70.0)),
        traffic=Reading(Traffic(42.5, 1.5, 3.0, {"p50": 0.012, "p95": 0.48, "p99": 2.4}, [40.0, 42.5], [0.4, 2.0])),
        breaker=Reading(Breaker([opened, replica("order-2"), replica("worker-1")], [moved(-7, "closed", "open")])),
        chaos=Reading(Chaos(halted=False, live=live)),
        queue=Reading(Queue(7, 12.0, 1, 50_000, [])),
        stock=Reading([item("ps5", 100), item("mouse", 0), item("webcam", 7)]),
        feed=Reading(fold(Feed(), [order()])),
    )
    return msgspec.structs.replace(plain, **changes)


def violated() -> Audit:
    broken = Invariant("no-oversell", "No item …", "violated", 12, "items", 1, [Example("ps5", "has -1")])
    held = Invariant("one-order-per-key", "A key …", "held", 3, "orders", 0, [])
    compared = Coverage({"confirmed": 3}, 6, 3, 0, 12, 15, None)
    return Audit("violated", datetime.now(UTC), 0.4, 60.0, compared, [held, broken], [])
