"""The dashboard and `valerix top` compute the same traffic from the same metrics: neither may import the other."""

from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest

from services.frontend.traffic import RateMeter, parse_scrape
from valerix_cli.top.rates import Meter, scrape

BUCKETS = (0.01, 0.1, 1, 10)
A, B = "http://a", "http://b"


@dataclass(frozen=True)
class Counted:
    """Orders that a replica has answered since its start: response times by status, and the number of replays."""

    latencies: tuple[float, ...] = ()
    failed: tuple[float, ...] = ()
    replays: int = 0

    def page(self) -> str:
        """Return the metrics page of a replica, as the order service writes it."""
        registry = CollectorRegistry()
        durations = Histogram(
            "http_request_duration_seconds", "…", ["method", "route", "status"], buckets=BUCKETS, registry=registry
        )
        for seconds in self.latencies:
            durations.labels("POST", "/api/orders", "201").observe(seconds)
        for seconds in self.failed:
            durations.labels("POST", "/api/orders", "503").observe(seconds)
        durations.labels("GET", "/api/orders", "200").observe(5)
        Counter("idempotency_cache_hits", "…", registry=registry).inc(self.replays)
        return generate_latest(registry).decode()


@dataclass(frozen=True)
class Expected:
    """Rates are per second; percentiles in seconds, None without orders."""

    answered: float
    errors: float = 0.0
    replays: float = 0.0
    percentiles: dict[str, float | None] = field(default_factory=lambda: dict.fromkeys(("p50", "p95", "p99")))


FAST, SLOW, LOST = (0.05,) * 10, (5.0,) * 10, (20.0,) * 10
CASES = {
    "no orders": ([{A: Counted()}, {A: Counted()}], Expected(0)),
    "orders of one replica": (
        [{A: Counted()}, {A: Counted(FAST, replays=4)}],
        Expected(10, replays=4, percentiles={"p50": 0.055, "p95": 0.0955, "p99": 0.0991}),
    ),
    "orders of two replicas": (
        [{A: Counted(), B: Counted()}, {A: Counted(FAST), B: Counted(SLOW)}],
        Expected(20, percentiles={"p50": 0.1, "p95": 9.1, "p99": 9.82}),
    ),
    "errors": (
        [{A: Counted()}, {A: Counted(FAST[:5], failed=FAST[:5])}],
        Expected(10, errors=5, percentiles={"p50": 0.055, "p95": 0.0955, "p99": 0.0991}),
    ),
    "beyond the last bucket": (
        [{A: Counted()}, {A: Counted(LOST)}],
        Expected(10, percentiles=dict.fromkeys(("p50", "p95", "p99"), float("inf"))),
    ),
    "a restarted replica": (
        [{A: Counted(FAST * 5, replays=5)}, {A: Counted(FAST, replays=1)}],
        Expected(10, replays=1, percentiles={"p50": 0.055, "p95": 0.0955, "p99": 0.0991}),
    ),
    "an unreachable replica": (
        [{A: Counted(), B: Counted()}, {A: Counted(FAST)}],
        Expected(10, percentiles={"p50": 0.055, "p95": 0.0955, "p99": 0.0991}),
    ),
    "slow orders that left the window of ten seconds": (
        [{A: Counted()}, {A: Counted(SLOW)}, *[{A: Counted(SLOW)}] * 9, {A: Counted(SLOW + FAST)}],
        Expected(10, percentiles={"p50": 0.055, "p95": 0.0955, "p99": 0.0991}),
    ),
    "slow orders still in the window of ten seconds": (
        [{A: Counted()}, {A: Counted(SLOW)}, *[{A: Counted(SLOW)}] * 8, {A: Counted(SLOW + FAST)}],
        Expected(10, percentiles={"p50": 0.1, "p95": 9.1, "p99": 9.82}),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_dashboard_and_top_compute_the_same_traffic(name: str) -> None:
    scrapes, expected = CASES[name]
    dashboard, top = RateMeter(), Meter()
    on_page, on_screen = None, None
    for second, replicas in enumerate(scrapes):
        pages = {replica: counted.page() for replica, counted in replicas.items()}
        on_page = dashboard.read({replica: parse_scrape(page, float(second)) for replica, page in pages.items()})
        on_screen = top.read({replica: scrape(page, float(second)) for replica, page in pages.items()})
    assert on_page is not None
    assert on_screen is not None
    percentiles = {"p50": on_page.p50, "p95": on_page.p95, "p99": on_page.p99}
    assert on_screen.latency == percentiles == pytest.approx(expected.percentiles)
    rates = [on_page.answered, on_page.rates.get("errors", 0.0), on_page.rates.get("replays", 0.0)]
    assert [on_screen.per_second, on_screen.errors, on_screen.replays] == rates
    assert rates == [expected.answered, expected.errors, expected.replays]
