"""Both databases as honest services would have left them, and ways to spoil them by hand."""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from valerix_cli.audit import Audit, Sources, audit
from valerix_cli.audit.model import Example, Invariant

_EVENT: LiteralString = """
INSERT INTO order_events (order_id, at, "from", "to", detail)
VALUES (%s, now() - %s, %s, %s, jsonb_build_object('cause', %s::text))
"""


def _cause(before: str) -> str:
    return "requeued" if before == "dead" else "timeout"


class Books:
    """An order_db and an inventory_db of a test's own."""

    def __init__(self, orders: str, inventory: str) -> None:
        self.sources = Sources(orders, inventory)
        self.stock("ps5", 100)

    def stock(self, item: str, quantity: int) -> None:
        self.inventory("INSERT INTO inventory (item_id, item_name, quantity) VALUES (%s, %s, 0)", [item, item])
        self.book(item, quantity, "seed")

    def book(self, item: str, change: int, kind: str, order_id: uuid.UUID | None = None) -> None:
        """Write a ledger line and change the stock with it, as inventory does in one transaction."""
        self.inventory(
            """
            WITH line AS (
                INSERT INTO inventory_transactions (item_id, quantity_change, transaction_type, order_id)
                VALUES (%s, %s, %s, %s) RETURNING item_id, quantity_change
            )
            UPDATE inventory SET quantity = quantity + quantity_change FROM line WHERE line.item_id = inventory.item_id
            """,
            [item, change, kind, order_id],
        )

    def order(
        self, key: str, *path: str, item: str = "ps5", quantity: int = 1, age: timedelta = timedelta()
    ) -> uuid.UUID:
        """An order that went along `path` from pending: accepted, then deducted or refused, then settled."""
        order_id = uuid.uuid5(uuid.NAMESPACE_OID, key)
        self.orders(
            """
            WITH accepted AS (
                INSERT INTO orders (order_id, item_id, quantity, status, idempotency_key, fingerprint, attempts,
                                    lease_token, created_at, updated_at)
                VALUES (%(id)s, %(item)s, %(quantity)s, 'pending', %(key)s, '', 1, 1, now() - %(age)s, now() - %(age)s)
                RETURNING order_id, created_at
            )
            INSERT INTO order_events (order_id, at, "from", "to", detail)
            SELECT order_id, created_at, NULL, 'pending', '{}' FROM accepted
            """,
            {"id": order_id, "item": item, "quantity": quantity, "key": key, "age": age},
        )
        if "confirmed" in path:
            self.book(item, -quantity, "deduct", order_id)
        if "failed" in path:
            self.inventory(
                "INSERT INTO refusals (order_id, item_id, quantity, reason) VALUES (%s, %s, %s, 'insufficient-stock')",
                [order_id, item, quantity],
            )
        if path:
            self.settle(order_id, ["pending", *path], age)
        return order_id

    def settle(self, order_id: uuid.UUID, path: Sequence[str], age: timedelta) -> None:
        """Write all transitions along `path`, and the status it ends in, at once."""
        with psycopg.connect(self.sources.orders) as conn:
            for before, after in pairwise(path):
                conn.execute(_EVENT, [order_id, age, before, after, _cause(before)])
            conn.execute("UPDATE orders SET status = %s WHERE order_id = %s", [path[-1], order_id])

    def event(self, order_id: uuid.UUID, before: str, after: str) -> None:
        """Write a transition and nothing else."""
        self.orders(_EVENT, [order_id, timedelta(), before, after, _cause(before)])

    def orders(self, statement: LiteralString, parameters: Any = None) -> None:
        with psycopg.connect(self.sources.orders) as conn:
            conn.execute(statement, parameters)

    def inventory(self, statement: LiteralString, parameters: Any = None) -> None:
        with psycopg.connect(self.sources.inventory) as conn:
            conn.execute(statement, parameters)

    def audit(self, journal: Path | None = None, settle_limit: float = 60) -> Audit:
        return audit(self.sources, journal, settle_limit)

    def broken(self, journal: Path | None = None) -> dict[str, list[str]]:
        """The invariants that do not hold, each with the subjects of its examples."""
        return {
            one.name: [example.subject for example in one.examples]
            for one in self.audit(journal).invariants
            if one.broken
        }


def named(found: Audit, name: str) -> Invariant:
    return next(one for one in found.invariants if one.name == name)


def examples(found: Audit, name: str) -> list[Example]:
    return named(found, name).examples
