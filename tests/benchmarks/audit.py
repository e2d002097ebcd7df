"""`python -m tests.benchmarks.audit [--orders N]` fills both databases with N orders and reports the cost of an audit.

All orders are confirmed; one in twenty was queued once and claimed by a worker.
"""

import argparse
import multiprocessing
import resource
import sys
from collections.abc import Sequence
from typing import LiteralString

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from tests.faults.teeth import templates
from valerix_cli.audit import Sources, audit

ITEMS = [f"item-{number}" for number in range(1000)]

_ORDERS: LiteralString = """
INSERT INTO orders (order_id, item_id, quantity, status, idempotency_key, fingerprint, attempts, lease_token)
SELECT md5(i::text)::uuid, 'item-' || i %% 1000, 1 + i %% 3, 'confirmed', 'load-' || i,
       sha256(convert_to(format('["item-%%s",%%s]', i %% 1000, 1 + i %% 3), 'UTF8')), 1, 1
FROM generate_series(%(first)s::int, %(last)s::int) AS i
"""
_STEP: LiteralString = """
INSERT INTO order_events (order_id, "from", "to", detail)
SELECT md5(i::text)::uuid, %(before)s, %(then)s,
       jsonb_build_object('by', 'order-1', 'attempt', 1, 'request_id', md5(i::text)) || %(facts)s
FROM generate_series(%(first)s::int, %(last)s::int) AS i
WHERE %(queued)s::boolean IS NULL OR (i %% 20 = 0) = %(queued)s
"""
_SHELVE: LiteralString = """
WITH shelved AS (
    INSERT INTO inventory (item_id, item_name, quantity)
    SELECT item_id, item_id, %(quantity)s FROM unnest(%(items)s::text[]) AS item_id
    RETURNING item_id, quantity
)
INSERT INTO inventory_transactions (item_id, quantity_change, transaction_type)
SELECT item_id, quantity, 'seed' FROM shelved
"""
_DEDUCTIONS: LiteralString = """
INSERT INTO inventory_transactions (item_id, order_id, quantity_change, transaction_type)
SELECT 'item-' || i %% 1000, md5(i::text)::uuid, -(1 + i %% 3), 'deduct'
FROM generate_series(%(first)s::int, %(last)s::int) AS i
"""
_STOCK: LiteralString = """
UPDATE inventory SET quantity = booked
FROM (SELECT item_id, sum(quantity_change) AS booked FROM inventory_transactions GROUP BY item_id) AS ledger
WHERE ledger.item_id = inventory.item_id
"""


class Figures(msgspec.Struct, frozen=True):
    """Cost of an audit: the wall-clock time that it reports, and its peak memory."""

    verdict: str
    orders: int
    steps: int
    seconds: float
    megabytes: int


def shelve(inventory: str, items: Sequence[str], quantity: int) -> None:
    """Add new items to stock and to the ledger, a given quantity of each. `inventory` is a connection string."""
    with psycopg.connect(inventory, autocommit=True) as conn:
        conn.execute(_SHELVE, {"items": items, "quantity": quantity})


def fill(sources: Sources, orders: int, *, already: int = 0) -> None:
    """Write the rows of a number of orders of ITEMS, which are in stock, to both databases.

    The first `already` orders exist.
    """
    numbers = {"first": already + 1, "last": orders}
    with psycopg.connect(sources.orders, autocommit=True) as conn:
        conn.execute(_ORDERS, numbers)
        for before, then, queued, facts in (
            (None, "pending", None, {"token": 1, "lease_seconds": 10.0}),
            ("pending", "queued", True, {"token": 1, "cause": "timeout"}),
            ("queued", "queued", True, {"token": 2, "cause": "due", "lease_seconds": 10.0}),
            ("queued", "confirmed", True, {"token": 2, "repeated": True}),
            ("pending", "confirmed", False, {"token": 1, "repeated": False}),
        ):
            conn.execute(_STEP, {"before": before, "then": then, "queued": queued, "facts": Jsonb(facts), **numbers})
        conn.execute("VACUUM ANALYZE")
    with psycopg.connect(sources.inventory, autocommit=True) as conn:
        conn.execute(_DEDUCTIONS, numbers)
        conn.execute(_STOCK)
        conn.execute("VACUUM ANALYZE")


def measure(sources: Sources) -> Figures:
    """Run an audit in a separate process, so that its memory can be measured."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, [sources])


def _measure(sources: Sources) -> Figures:
    found = audit(sources)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Figures(found.verdict, sum(found.compared.orders.values()), found.compared.events, found.seconds, peak)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.audit", description=__doc__)
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=3)
    asked = parser.parse_args(arguments)
    with templates() as databases:
        sources = Sources(
            databases.make("books_orders", "order_template"), databases.make("books_inventory", "inventory_template")
        )
        shelve(sources.inventory, ITEMS, 1_000_000)
        fill(sources, asked.orders)
        for _ in range(asked.times):
            print(msgspec.json.encode(measure(sources)).decode(), flush=True)  # noqa: T201 - it is a command
    return 0


if __name__ == "__main__":
    sys.exit(main())
