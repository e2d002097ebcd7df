"""Memory during minutes of load."""

from tests.benchmarks import memory
from tests.benchmarks.bench import Bench
from tests.benchmarks.live import Live
from tests.benchmarks.results import Soak

CLIENTS = 64


def measure(bench: Bench, shop: Live, minutes: float) -> Soak:
    """Send new orders of the hot item as fast as they are answered."""
    bench.say(f"soaking for {minutes:g} minutes")
    with memory.watched(shop) as (times, megabytes):
        sample = bench.clients(shop, "soak", CLIENTS, seconds=minutes * 60)
    bench.soak = Soak(CLIENTS, sample, times, megabytes)
    return bench.soak
