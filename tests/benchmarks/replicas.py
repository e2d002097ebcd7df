"""Throughput with several replicas of the order service on one machine."""

from pathlib import Path

from tests.benchmarks.bench import Bench
from tests.benchmarks.live import live
from tests.benchmarks.throughput import MANY

NUMBERS = (1, 2, 4)
CLIENTS = (64, 256)


def measure(bench: Bench, directory: Path) -> None:
    """Measure `replicas/2/hot/64`, `replicas/2/items/64` and so on, with clients spread evenly over the replicas."""
    with live(directory / "replicas") as shop:
        for number in NUMBERS:
            shop.valerix("down")
            shop.up("--replicas", f"order={number}")
            bench.warm_up(shop)
            for clients in CLIENTS:
                bench.clients(shop, f"replicas/{number}/hot/{clients}", clients)
                bench.clients(shop, f"replicas/{number}/items/{clients}", clients, items=MANY)
