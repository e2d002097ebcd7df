"""Both databases as the services would leave them, and functions to tamper with them."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, LiteralString

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from services.order.domain import fingerprint
from valerix_cli.audit import Audit, Sources, audit
from valerix_cli.audit.model import Example, Invariant
from valerix_cli.audit.queries.databases import Connection

_EVENT: LiteralString = """
INSERT INTO order_events (order_id, at, "from", "to", detail) VALUES (%s, now() - %s::interval, %s, %s, %s)
"""
LEASE = timedelta(seconds=10)


class Step(msgspec.Struct, frozen=True):
    """One event in an order's history."""

    before: str | None
    after: str
    detail: dict[str, Any]

    @property
    def is_claim(self) -> bool:
        return "lease_seconds" in self.detail or self.detail.get("cause") == "clock-set-back"


def claim(status: str, token: int) -> Step:
    return Step(status, status, {"cause": "due", "token": token, "lease_seconds": LEASE.total_seconds()})


def walk(path: Sequence[str]) -> Iterator[Step]:
    """Yield the steps from pending along `path`; queued orders are claimed before they are settled."""
    token = 1
    yield Step(None, "pending", {"token": token, "lease_seconds": LEASE.total_seconds()})
    for before, after in pairwise(["pending", *path]):
        if before == "queued":
            token += 1
            yield claim(before, token)
        if before == "dead":
            token += 1
        cause = {"confirmed": None, "failed": "insufficient-stock"}.get(after, "timeout")
        yield Step(before, after, {"cause": "requeued" if before == "dead" else cause, "token": token})


class Books:
    """The order_db and inventory_db of a test."""

    def __init__(self, orders: str, inventory: str) -> None:
        self.sources = Sources(orders, inventory)
        self.stock("ps5", 100)

    def stock(self, item: str, quantity: int) -> None:
        self.inventory("INSERT INTO inventory (item_id, item_name, quantity) VALUES (%s, %s, 0)", [item, item])
        self.book(item, quantity, "seed")

    def book(
        self, item: str, change: int, kind: str, order_id: uuid.UUID | None = None, key: str | None = None
    ) -> None:
        """Write a ledger line and update the stock, as inventory does in one transaction."""
        self.inventory(
            """
            WITH line AS (
                INSERT INTO inventory_transactions (item_id, quantity_change, transaction_type, order_id,
                                                    idempotency_key)
                VALUES (%s, %s, %s, %s, %s) RETURNING item_id, quantity_change
            )
            UPDATE inventory SET quantity = quantity + quantity_change FROM line WHERE line.item_id = inventory.item_id
            """,
            [item, change, kind, order_id, key],
        )

    def order(
        self, key: str, *path: str, item: str = "ps5", quantity: int = 1, age: timedelta = timedelta()
    ) -> uuid.UUID:
        """Write an order that went along `path` from pending: accepted, then deducted or refused, then settled."""
        order_id = uuid.uuid5(uuid.NAMESPACE_OID, key)
        accepted, *later = walk(path)
        with psycopg.connect(self.sources.orders) as conn:
            conn.execute(
                """
                INSERT INTO orders (order_id, item_id, quantity, status, idempotency_key, fingerprint, attempts,
                                    lease_token, created_at, updated_at)
                VALUES (%(id)s, %(item)s, %(quantity)s, 'pending', %(key)s, %(fingerprint)s, 1, 1, now() - %(age)s,
                        now() - %(age)s)
                """,
                {
                    "id": order_id,
                    "item": item,
                    "quantity": quantity,
                    "key": key,
                    "fingerprint": fingerprint(item, quantity),
                    "age": age,
                },
            )
            _write(conn, order_id, accepted, age)
        if "confirmed" in path:
            self.book(item, -quantity, "deduct", order_id)
        if "failed" in path:
            self.inventory(
                "INSERT INTO refusals (order_id, item_id, quantity, reason) VALUES (%s, %s, %s, 'insufficient-stock')",
                [order_id, item, quantity],
            )
        if later:
            self.live(order_id, later, age)
        return order_id

    def live(self, order_id: uuid.UUID, steps: Iterable[Step], age: timedelta = timedelta()) -> None:
        """Write events of an order and its resulting status in one transaction."""
        with psycopg.connect(self.sources.orders) as conn:
            for step in steps:
                _write(conn, order_id, step, age)
                conn.execute(
                    """
                    UPDATE orders SET status = %s, lease_token = coalesce(%s, lease_token),
                                      reason = CASE WHEN %s THEN reason ELSE %s END
                    WHERE order_id = %s
                    """,
                    [step.after, step.detail.get("token"), step.is_claim, step.detail.get("cause"), order_id],
                )

    def event(self, order_id: uuid.UUID, step: Step) -> None:
        """Write an event without any other change."""
        with psycopg.connect(self.sources.orders) as conn:
            _write(conn, order_id, step, timedelta())

    def orders(self, statement: LiteralString | bytes, parameters: Any = None) -> None:
        with psycopg.connect(self.sources.orders) as conn:
            conn.execute(statement, parameters)

    def inventory(self, statement: LiteralString, parameters: Any = None) -> None:
        with psycopg.connect(self.sources.inventory) as conn:
            conn.execute(statement, parameters)

    def audit(self, journal: Path | None = None, settle_limit: float = 60) -> Audit:
        return audit(self.sources, journal, settle_limit)

    def broken(self, journal: Path | None = None) -> dict[str, list[str]]:
        """Return the violated invariants, each with the subjects of its examples."""
        return {
            one.name: [example.subject for example in one.examples]
            for one in self.audit(journal).invariants
            if one.broken
        }


def _write(conn: Connection, order_id: uuid.UUID, step: Step, age: timedelta) -> None:
    conn.execute(_EVENT, [order_id, age, step.before, step.after, Jsonb(step.detail)])


def named(found: Audit, name: str) -> Invariant:
    return next(one for one in found.invariants if one.name == name)


def examples(found: Audit, name: str) -> list[Example]:
    return named(found, name).examples
