"""Effect of stored orders on the throughput of new ones."""

from pathlib import Path

from tests.benchmarks.audit import fill
from tests.benchmarks.bench import Bench, checkpoint
from tests.benchmarks.live import Live, live
from valerix_cli.audit import Sources
from valerix_cli.local.stack import INVENTORY_DB, ORDER_DB

CLIENTS = (64, 256)
ROUNDS = 3  # at least: the difference between the platforms is about as large as the noise between two runs


def measure(bench: Bench, directory: Path, rows: list[int], rounds: int) -> None:
    """Load two platforms in turn: one empty, the other with more and more stored orders.

    Cases are `rows/1000000/empty/64` and `rows/1000000/full/64`.
    """
    with live(directory / "empty") as empty, live(directory / "full") as full:
        already = 0
        for number in sorted(rows):
            bench.say(f"writing the books of {number:,} orders")
            fill(Sources(full.url(ORDER_DB), full.url(INVENTORY_DB)), number, already=already)
            already = number
            for shop in (empty, full):
                bench.warm_up(shop)
            for turn in range(max(rounds, ROUNDS)):
                _one_round(bench, {"empty": empty, "full": full}, number, turn)
        bench.audit(full, f"{already:,} orders and more")


def _one_round(bench: Bench, shops: dict[str, Live], rows: int, turn: int) -> None:
    """Load both platforms, in an order that alternates between turns."""
    for clients in CLIENTS:
        for name in sorted(shops, reverse=bool(turn % 2)):
            checkpoint(shops[name])
            bench.clients(shops[name], f"rows/{rows}/{name}/{clients}", clients)
