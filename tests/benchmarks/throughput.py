"""Throughput by number of clients, of new orders and of replays."""

from collections.abc import Sequence

from tests.benchmarks.bench import Bench
from tests.benchmarks.live import Live

CLIENTS = (1, 4, 16, 64, 256, 1000)
REPLAYS = (64, 256)
MANY = 1000  # items
_KNOWN_AT_MOST = 5000  # keys to replay


def new_orders(bench: Bench, shop: Live, clients: Sequence[int], *, many: bool, turn: int = 1) -> None:
    """Measure new orders of the hot item (`hot/64`) and, with `many`, of a thousand items (`items/64`).

    The two run one after the other and swap places every other `turn`, because the second finds more orders stored.
    """
    kinds = {"hot": 1, "items": MANY} if many else {"hot": 1}
    for number in clients:
        for kind in sorted(kinds, reverse=turn % 2 == 0):
            bench.clients(shop, f"{kind}/{number}", number, items=kinds[kind])


def replays(bench: Bench, shop: Live, clients: Sequence[int] = REPLAYS) -> None:
    """Measure `new/64`, followed by `replays/64` of its keys."""
    for number in clients:
        prefix = bench.prefix()
        new = bench.clients(shop, f"new/{number}", number, prefix=prefix)
        finished = sum(new.statuses.values()) - number  # the last order of each client may have been cut off
        known = max(1, min(finished, _KNOWN_AT_MOST))
        bench.clients(shop, f"replays/{number}", number, prefix=prefix, known=known)
