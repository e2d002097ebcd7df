"""Throughput by clients, of new orders and of replays."""

from collections.abc import Sequence

from tests.benchmarks.bench import Bench
from tests.benchmarks.live import Live

CLIENTS = (1, 4, 16, 64, 256, 1000)
REPLAYS = (64, 256)
MANY = 1000  # items
_KNOWN_AT_MOST = 5000  # keys that are replayed


def new_orders(bench: Bench, shop: Live, clients: Sequence[int], *, many: bool, turn: int = 1) -> None:
    """Of the hot item, `hot/64`, and with `many` of a thousand items, each alike, `items/64`.

    One right after the other. Whichever is second finds more orders stored, so that is another one every other `turn`.
    """
    kinds = {"hot": 1, "items": MANY} if many else {"hot": 1}
    for number in clients:
        for kind in sorted(kinds, reverse=turn % 2 == 0):
            bench.clients(shop, f"{kind}/{number}", number, items=kinds[kind])


def replays(bench: Bench, shop: Live, clients: Sequence[int] = REPLAYS) -> None:
    """`new/64`, and right after it `replays/64` of its keys."""
    for number in clients:
        prefix = bench.prefix()
        new = bench.clients(shop, f"new/{number}", number, prefix=prefix)
        finished = sum(new.statuses.values()) - number  # the last of each client may have been broken off
        known = max(1, min(finished, _KNOWN_AT_MOST))
        bench.clients(shop, f"replays/{number}", number, prefix=prefix, known=known)
