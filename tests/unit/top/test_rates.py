"""Orders per second and percentiles, computed from the replicas' counters."""

import math

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest

from valerix_cli.top.rates import Meter, Scrape, percentile, scrape, step


def page(latencies: list[float], *, status: str = "201", replays: int = 0) -> str:
    """Return a metrics page as a service writes it."""
    registry = CollectorRegistry()
    histogram = Histogram(
        "http_request_duration_seconds",
        "…",
        ["method", "route", "status"],
        buckets=(0.01, 0.1, 1, 10),
        registry=registry,
    )
    for seconds in latencies:
        histogram.labels("POST", "/api/orders", status).observe(seconds)
    histogram.labels("GET", "/api/orders", "200").observe(5)
    histogram.labels("POST", "/api/admin/breaker", "503").observe(5)
    Counter("idempotency_cache_hits", "…", registry=registry).inc(replays)
    return generate_latest(registry).decode()


def test_only_order_requests_are_read() -> None:
    read = scrape(page([0.005, 0.05, 0.05, 20], replays=3), 7.0)
    assert read == Scrape(7.0, {0.01: 1, 0.1: 3, 1: 3, 10: 3, math.inf: 4}, 0, 3)
    assert scrape(page([0.05], status="503"), 7.0).errors == 1


def test_changes_between_two_scrapes_are_rates_per_second() -> None:
    before, now = scrape(page([0.05] * 10, replays=1), 100.0), scrape(page([0.05] * 50, replays=5), 102.0)
    found = step(before, now)
    assert (found.per_second, found.replays, found.errors) == (20, 2, 0)
    assert found.buckets[math.inf] == 40


def test_a_restarted_replica_counts_from_zero() -> None:
    found = step(scrape(page([0.05] * 50), 100.0), scrape(page([0.05] * 4), 102.0))
    assert found.per_second == 2


def test_replicas_are_summed_without_unreachable_ones() -> None:
    meter = Meter()
    assert meter.read({"a": scrape(page([]), 0.0), "b": scrape(page([]), 0.0)}) is None
    both = meter.read({"a": scrape(page([0.05] * 10), 1.0), "b": scrape(page([0.05] * 20), 1.0)})
    assert both is not None
    assert both.per_second == 30
    alone = meter.read({"a": scrape(page([0.05] * 15), 2.0)})
    assert alone is not None
    assert (alone.per_second, list(alone.rates)) == (5, [30, 5])


def test_a_returning_replica_causes_no_peak() -> None:
    """The orders that it has counted meanwhile are spread over the time without samples."""
    meter = Meter()
    meter.read({"a": scrape(page([]), 0.0)})
    back = meter.read({"a": scrape(page([0.05] * 60), 6.0)})
    assert back is not None
    assert back.per_second == 10


def test_percentiles_are_interpolated_within_their_bucket_as_prometheus_does() -> None:
    buckets = {0.1: 50.0, 0.2: 90.0, 1.0: 100.0, math.inf: 100.0}
    assert percentile(buckets, 0.5) == pytest.approx(0.1)
    assert percentile(buckets, 0.7) == pytest.approx(0.15)
    assert percentile(buckets, 0.95) == pytest.approx(0.6)


def test_a_percentile_beyond_the_last_bucket_is_infinite() -> None:
    assert percentile({10.0: 1.0, math.inf: 100.0}, 0.99) == math.inf


def test_no_orders_give_no_percentile() -> None:
    assert percentile({0.1: 0.0, math.inf: 0.0}, 0.5) is None
    assert percentile({}, 0.5) is None


def test_percentiles_cover_the_last_ten_samples() -> None:
    meter = Meter()
    meter.read({"a": scrape(page([]), 0.0)})
    counted: list[float] = []
    seen = []
    for look in range(1, 14):
        counted += [5.0] if look == 1 else [0.005]
        found = meter.read({"a": scrape(page(counted), float(look))})
        assert found is not None
        seen.append((found.latency["p99"] or 0) > 1)
    assert seen == [True] * 10 + [False] * 3
