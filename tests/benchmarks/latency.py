"""Latency at a fixed rate: orders are sent when they are due, whether or not earlier ones were answered."""

from tests.benchmarks.bench import Bench
from tests.benchmarks.live import Live

RATES = (100, 500, 1000, 2000)
FULL = "hot/256"


def measure(bench: Bench, shop: Live) -> None:
    """Measure `rate/500` and so on, and `rate/half`: half the throughput of 256 clients, measured if needed."""
    for rate in RATES:
        bench.rate(shop, f"rate/{rate}", rate)
    full = bench.cases[FULL][-1] if FULL in bench.cases else bench.clients(shop, FULL, 256)
    bench.rate(shop, "rate/half", round(full.per_second / 2))
