"""The page's model of the services' state."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from services.frontend import viewmodel
from services.frontend.snapshot import Observation, ReplicaHealth, Snapshot
from services.frontend.viewmodel import headline, panels, point, segments
from services.frontend.wire import Activation, Breaker, Chaos, Health, Item, Queue, ReplicaBreaker, Transition, Window

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
LIVE = Activation(
    id="a1",
    latency=True,
    latency_ms=5000,
    latency_rate=1.0,
    crash_rate=0.3,
    partial_failure_rate=0.0,
    seed=7,
    ttl_seconds=60.0,
    reason=None,
    set_at=NOW,
    remaining_seconds=42.0,
)


def replica(service: str, status: Any = "ok", fault: str | None = None) -> ReplicaHealth:
    health = None if fault else Health(status, service, f"{service}-1", "1")
    return ReplicaHealth(service, "http://x", health, None if fault else 3.0, fault)


def breaker(state: Any, since: datetime = NOW, retry: float | None = None) -> ReplicaBreaker:
    window = Window(10, 20, 12, 60.0, 50.0, 5)
    return ReplicaBreaker("order-1", "order", state, since, None, "opened: 12 of 20 calls failed", window, retry)


def snapshot(**seen: Any) -> Snapshot:
    steady: dict[str, Any] = {
        "replicas": [replica("orders"), replica("worker"), replica("inventory")],
        "breaker": Observation(Breaker([breaker("closed")], [])),
        "queue": Observation(Queue(0, None, 0, 100)),
        "chaos": Observation(Chaos(halted=False, live=None)),
    }
    return Snapshot(NOW, **(steady | seen))


def test_a_healthy_platform_has_a_short_headline() -> None:
    assert headline(snapshot()) == viewmodel.Headline("good", "All is well.")


def test_live_gremlins_outrank_their_consequences_in_the_headline() -> None:
    found = headline(
        snapshot(
            chaos=Observation(Chaos(halted=False, live=LIVE)),
            breaker=Observation(Breaker([breaker("open")], [])),
            queue=Observation(Queue(1, 3.0, 0, 100)),
        )
    )
    assert (found.severity, found.message) == ("chaos", "Injected faults: latency 5 s on 100% of calls, crash 30%.")
    assert found.consequences == [
        "The breaker of order-1 is open: orders are accepted and queued.",
        "1 order waits to be finished.",
    ]


def test_an_unreachable_service_is_the_worst_state() -> None:
    found = headline(
        snapshot(replicas=[replica("orders"), replica("inventory", fault="inventory: connection refused")])
    )
    assert (found.severity, found.message) == ("bad", "Inventory does not respond.")


def test_one_replica_of_two_is_a_warning() -> None:
    found = headline(snapshot(replicas=[replica("orders"), replica("orders", fault="orders: connection refused")]))
    assert (found.severity, found.message) == ("warning", "One replica of orders does not respond.")


def test_outdated_values_are_not_shown_as_current() -> None:
    gone = Observation(Chaos(halted=False, live=LIVE), 30.0, "inventory: connection refused")
    assert headline(snapshot(chaos=gone)).severity == "good"
    assert point(snapshot(queue=Observation(Queue(3, 1.0, 0, 9), 30.0, "gone")))[-1] is None


def test_a_breaker_timeline_shows_each_state_for_its_duration() -> None:
    history = [
        Transition("order-1", NOW - timedelta(seconds=60), "open", "12 of 20 calls failed", "closed"),
        Transition("order-2", NOW - timedelta(seconds=50), "open", None, "closed"),
        Transition("order-1", NOW - timedelta(seconds=30), "half-open", None, "open"),
        Transition("order-1", NOW - timedelta(seconds=30), "closed", None, "half-open"),
    ]
    found = segments(breaker("closed", NOW - timedelta(seconds=30)), history, NOW)
    assert [(one.state, one.x, one.width) for one in found] == [
        ("closed", 0.0, 500.0),
        ("open", 500.0, 250.0),
        ("half-open", 750.0, 3.0),
        ("closed", 750.0, 250.0),
    ]
    assert found[1].label == "open: 12 of 20 calls failed"


def test_a_breaker_without_a_history_has_had_its_current_state() -> None:
    found = segments(breaker("closed", NOW - timedelta(hours=1)), [], NOW)
    assert [(one.state, one.x, one.width) for one in found] == [("closed", 0.0, 1000.0)]


def test_stock_bars_are_relative_to_the_largest_and_low_stock_is_marked() -> None:
    items = [Item("a", "Lamp", 200, NOW), Item("b", "", 10, NOW), Item("c", "Chair", 0, NOW)]
    found = viewmodel.bars(snapshot(stock=Observation(items)))
    assert [(bar.name, bar.share, bar.is_low) for bar in found] == [
        ("Lamp", 1.0, False),
        ("b", 0.05, True),
        ("Chair", 0.0, True),
    ]


@pytest.mark.parametrize(("left", "share"), [(42.0, 0.7), (0.0, 0.0), (61.0, 1.0)])
def test_the_countdown_shows_the_remaining_share_of_the_lease(left: float, share: float) -> None:
    ring = viewmodel.chaos(Chaos(halted=False, live=msgspec.structs.replace(LIVE, remaining_seconds=left)))["countdown"]
    assert ring.share == pytest.approx(share)


def test_panels_render_before_the_first_observation() -> None:
    found = panels(Snapshot(NOW), Observation(), {})
    assert found["headline"]["headline"].severity == "warning"
    assert point(Snapshot(NOW)) == (NOW.timestamp(), *(None,) * 8)
