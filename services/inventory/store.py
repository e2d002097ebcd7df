"""The SQL of inventory_db. Each statement is a transaction unless the caller has started one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
import psycopg
from psycopg.rows import TupleRow, class_row

from services.common.postgres import Connection
from services.inventory.domain import Changes, Line, Refused, StoredOutcome


class Item(msgspec.Struct, frozen=True):
    item_id: str
    item_name: str
    quantity: int
    reserved_quantity: int
    created_at: datetime
    updated_at: datetime


class Transaction(msgspec.Struct, frozen=True):
    """A line of the append-only ledger."""

    id: int
    item_id: str
    quantity_change: int
    transaction_type: Literal["seed", "restock", "deduct", "release"]
    created_at: datetime


class StoredRefusal(msgspec.Struct, frozen=True):
    reason: str
    created_at: datetime


class _RefusalRow(msgspec.Struct, frozen=True):
    order_id: UUID
    item_id: str
    quantity: int
    reason: str
    available: int | None


_encoder = msgspec.json.Encoder()


def _json(rows: Sequence[msgspec.Struct]) -> str:
    return _encoder.encode(rows).decode()


def _in_order(lines: Sequence[Line]) -> list[Line]:
    """Sort lines so that all batches insert into the unique index in the same order and cannot deadlock."""
    return sorted(lines, key=lambda line: line.order_id.int)


async def deduct_all(conn: Connection, lines: Sequence[Line]) -> dict[str, int] | None:
    """Deduct all lines if each order is new and its item has enough stock. Returns the stock left per item.

    Otherwise returns None and changes nothing. One statement, so one round trip: see the function in `schema`. Raises
    psycopg's UniqueViolation as `write_outcomes` does.
    """
    cursor = await conn.execute("SELECT item, remaining FROM deduct_all(%s::json)", [_json(_in_order(lines))])
    return dict(await cursor.fetchall()) or None


async def lock_items_and_load_outcomes(
    conn: Connection, lines: Sequence[Line]
) -> tuple[dict[str, int], dict[UUID, StoredOutcome]]:
    """Lock the items of `lines` until the transaction ends. Returns their stock and the stored outcomes by order id.

    Two statements in one round trip. Locks are taken in the order of item_id, so two batches cannot deadlock. The
    second statement's snapshot is taken with the locks held (READ COMMITTED), so it sees everything that earlier
    holders committed. Unknown items are missing from the stock.
    """
    items = sorted({line.item_id for line in lines})
    orders = [line.order_id for line in lines]
    async with conn.pipeline():
        locked = await conn.execute(
            """
            SELECT item_id, quantity FROM inventory
            WHERE item_id = ANY(%s) ORDER BY item_id FOR NO KEY UPDATE
            """,
            [items],
        )
        outcomes = await conn.execute(
            """
            SELECT order_id, item_id, -quantity_change, NULL, NULL FROM inventory_transactions
            WHERE order_id = ANY(%(orders)s) AND transaction_type = 'deduct'
            UNION ALL
            SELECT order_id, item_id, quantity, reason, available FROM refusals
            WHERE order_id = ANY(%(orders)s)
            """,
            {"orders": orders},
        )
    stock: dict[str, int] = dict(await locked.fetchall())
    stored = {
        order_id: StoredOutcome(item_id, quantity, Refused(reason, available) if reason else None)
        for order_id, item_id, quantity, reason, available in await outcomes.fetchall()
    }
    return stock, stored


async def write_outcomes(conn: Connection, changes: Changes) -> None:
    """Store new deductions and refusals, and reduce the stock.

    Raises psycopg's UniqueViolation, at the latest with the commit, if a concurrent batch stored an outcome of the same
    order for another item, whose lock is not held here. Stock changes by the rows actually inserted.
    """
    refused = [
        _RefusalRow(line.order_id, line.item_id, line.quantity, refusal.reason, refusal.available)
        for line, refusal in sorted(changes.refusals, key=lambda entry: entry[0].order_id.int)
    ]
    await conn.execute(
        """
        WITH deducted AS (
            INSERT INTO inventory_transactions (item_id, order_id, quantity_change, transaction_type)
            SELECT item_id, order_id, -quantity, 'deduct'
            FROM json_to_recordset(%s::json) AS line (item_id text, order_id uuid, quantity bigint)
            RETURNING item_id, quantity_change
        ), refused AS (
            INSERT INTO refusals (order_id, item_id, quantity, reason, available)
            SELECT order_id, item_id, quantity, reason, available
            FROM json_to_recordset(%s::json)
                AS line (order_id uuid, item_id text, quantity bigint, reason text, available bigint)
        )
        UPDATE inventory SET quantity = inventory.quantity + change.total, updated_at = now()
        FROM (SELECT item_id, sum(quantity_change) AS total FROM deducted GROUP BY item_id) AS change
        WHERE inventory.item_id = change.item_id
        """,
        [_json(_in_order(changes.deductions)), _json(refused)],
    )


async def items(conn: Connection) -> list[Item]:
    cursor = conn.cursor(row_factory=class_row(Item))
    await cursor.execute(
        """
        SELECT item_id, item_name, quantity, reserved_quantity, created_at, updated_at
        FROM inventory ORDER BY id
        """
    )
    return await cursor.fetchall()


async def item(conn: Connection, item_id: str) -> Item | None:
    cursor = conn.cursor(row_factory=class_row(Item))
    await cursor.execute(
        """
        SELECT item_id, item_name, quantity, reserved_quantity, created_at, updated_at
        FROM inventory WHERE item_id = %s
        """,
        [item_id],
    )
    return await cursor.fetchone()


async def stock_levels(conn: Connection) -> dict[str, int]:
    cursor = await conn.execute("SELECT item_id, quantity FROM inventory")
    return dict(await cursor.fetchall())


async def transactions_of(conn: Connection, order_id: UUID) -> list[Transaction]:
    cursor = conn.cursor(row_factory=class_row(Transaction))
    await cursor.execute(
        """
        SELECT id, item_id, quantity_change, transaction_type, created_at
        FROM inventory_transactions WHERE order_id = %s ORDER BY id
        """,
        [order_id],
    )
    return await cursor.fetchall()


async def refusal_of(conn: Connection, order_id: UUID) -> StoredRefusal | None:
    cursor = conn.cursor(row_factory=class_row(StoredRefusal))
    await cursor.execute("SELECT reason, created_at FROM refusals WHERE order_id = %s", [order_id])
    return await cursor.fetchone()


async def lock_item(conn: Connection, item_id: str) -> int | None:
    """Lock one item until the transaction ends. Returns its stock, or None if the item is unknown."""
    cursor = await conn.execute("SELECT quantity FROM inventory WHERE item_id = %s FOR NO KEY UPDATE", [item_id])
    found = await cursor.fetchone()
    return None if found is None else int(found[0])


async def restock(conn: Connection, item_id: str, quantity: int, key: str) -> int | None:
    """Add to the stock of a locked item. Returns the new stock, or None if the key was used before."""
    cursor = await conn.execute(
        """
        WITH restocked AS (
            INSERT INTO inventory_transactions (item_id, quantity_change, transaction_type, idempotency_key)
            VALUES (%s, %s, 'restock', %s)
            ON CONFLICT (idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
            RETURNING item_id, quantity_change
        )
        UPDATE inventory SET quantity = inventory.quantity + restocked.quantity_change, updated_at = now()
        FROM restocked WHERE inventory.item_id = restocked.item_id
        RETURNING inventory.quantity
        """,
        [item_id, quantity, key],
    )
    added = await cursor.fetchone()
    return None if added is None else int(added[0])


async def restock_by_key(conn: Connection, key: str) -> tuple[str, int]:
    """Return the item id and the quantity of the restock that used this key."""
    cursor = await conn.execute(
        "SELECT item_id, quantity_change FROM inventory_transactions WHERE idempotency_key = %s", [key]
    )
    (row,) = await cursor.fetchall()
    return row[0], row[1]


def seed(conn: psycopg.Connection[TupleRow], items: Sequence[tuple[str, str, int]]) -> list[str]:
    """Add missing items (id, name, quantity) with their first ledger line. Returns their ids.

    The table lock waits for every deduction in progress, so no "unknown item" outcome commits after the item exists.
    """
    found = conn.execute("SELECT item_id FROM inventory").fetchall()
    known = {row[0] for row in found}
    missing = [entry for entry in items if entry[0] not in known]
    if not missing:
        return []
    conn.execute("LOCK TABLE inventory IN EXCLUSIVE MODE")
    cursor = conn.execute(
        """
        WITH added AS (
            INSERT INTO inventory (item_id, item_name, quantity)
            SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[])
            ON CONFLICT (item_id) DO NOTHING
            RETURNING item_id, quantity
        )
        INSERT INTO inventory_transactions (item_id, quantity_change, transaction_type)
        SELECT item_id, quantity, 'seed' FROM added
        RETURNING item_id
        """,
        [list(column) for column in zip(*missing, strict=True)],
    )
    return [row[0] for row in cursor.fetchall()]
