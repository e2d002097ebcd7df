"""Rates, averages and percentiles, computed from the replicas' counters."""

import math

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest

from services.frontend.traffic import RateMeter, Scrape, delta, parse_scrape, percentile


def page(latencies: list[float], *, status: str = "201", replays: int = 0, created: int = 0) -> str:
    """Return a metrics page as the order service writes it."""
    registry = CollectorRegistry()
    durations = Histogram(
        "http_request_duration_seconds",
        "…",
        ["method", "route", "status"],
        buckets=(0.01, 0.1, 1, 10),
        registry=registry,
    )
    for seconds in latencies:
        durations.labels("POST", "/api/orders", status).observe(seconds)
    durations.labels("GET", "/api/orders", "200").observe(5)
    durations.labels("POST", "/api/admin/breaker", "503").observe(5)
    Counter("idempotency_cache_hits", "…", registry=registry).inc(replays)
    Counter("orders_created", "…", ["status"], registry=registry).labels("queued").inc(created)
    return generate_latest(registry).decode()


def test_only_order_requests_are_read() -> None:
    found = parse_scrape(page([0.005, 0.05, 0.05, 20], replays=3, created=2), 7.0)
    assert found.buckets == {0.01: 1, 0.1: 3, 1: 3, 10: 3, math.inf: 4}
    assert found.seconds == pytest.approx(20.105)
    assert found.counts == {"replays": 3, "queued": 2, "errors": 0}
    assert parse_scrape(page([0.05], status="503"), 7.0).counts["errors"] == 1


def test_rates_are_per_second_since_the_last_scrape() -> None:
    meter = RateMeter()
    assert meter.read({"a": parse_scrape(page([0.05] * 10), 100.0)}) is None
    found = meter.read({"a": parse_scrape(page([0.05] * 50, replays=4, created=6), 102.0)})
    assert found is not None
    assert (found.answered, found.rates["replays"], found.rates["queued"]) == (20, 2, 3)


def test_replicas_are_summed() -> None:
    meter = RateMeter()
    meter.read({"a": parse_scrape(page([]), 0.0), "b": parse_scrape(page([]), 0.0)})
    found = meter.read({"a": parse_scrape(page([0.05] * 3), 1.0), "b": parse_scrape(page([0.05] * 4), 1.0)})
    assert found is not None
    assert found.answered == 7


def test_a_restarted_replica_counts_from_zero() -> None:
    found = delta(parse_scrape(page([0.05] * 50, replays=5), 1.0), parse_scrape(page([0.05] * 3, replays=1), 2.0))
    assert (found.answered, found.counts["replays"]) == (3, 1)


def test_averages_cover_thirty_seconds_and_percentiles_ten() -> None:
    meter = RateMeter()
    slow = [5.0] * 10
    meter.read({"a": parse_scrape(page([]), 0.0)})
    meter.read({"a": parse_scrape(page(slow), 1.0)})
    later = meter.read({"a": parse_scrape(page([*slow, *[0.05] * 10]), 20.0)})
    assert later is not None
    assert later.average == pytest.approx(2.525)
    assert later.p99 is not None
    assert later.p99 < 0.1
    last = meter.read({"a": parse_scrape(page([*slow, *[0.05] * 10]), 32.0)})
    assert last is not None
    assert last.average == pytest.approx(0.05)


def test_no_responses_have_no_latency() -> None:
    meter = RateMeter()
    meter.read({"a": Scrape(0.0)})
    found = meter.read({"a": Scrape(1.0)})
    assert found is not None
    assert (found.answered, found.average, found.p50) == (0, None, None)


def test_percentiles_are_interpolated_and_infinite_beyond_the_last_bucket() -> None:
    assert percentile({0.1: 10, 1: 20, math.inf: 20}, 0.75) == pytest.approx(0.55)
    assert percentile({0.1: 10, math.inf: 20}, 0.99) == math.inf
    assert percentile({}, 0.5) is None
