"""The SQL of orders: one function per statement, over lists of rows."""

import uuid
from datetime import datetime, timedelta
from typing import Any

import msgspec
from psycopg.rows import TupleRow

from services.common.postgres import Connection
from services.common.request_context import trace_id
from services.order.domain import (
    Claim,
    NewOrder,
    Order,
    Settlement,
    Status,
    StoredOrder,
)


class Event(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """One entry of an order's history: a transition, or a claim, which does not change the status."""

    at: datetime
    from_: str | None
    to: str
    detail: dict[str, Any]


class _SettlementRow(msgspec.Struct, frozen=True, gc=False):
    """Flat settlement row: PostgreSQL parses a nested JSON object once per field."""

    order_id: uuid.UUID
    token: int
    from_status: Status
    status: Status
    reason: str | None
    attempts: int
    delay: float | None
    detail: dict[str, str | float | int | bool]


_encoder = msgspec.json.Encoder()


def _order(row: TupleRow) -> Order:
    return Order(*row[:9])


def _request_ids(new: NewOrder) -> dict[str, str]:
    """Return the request and trace ids of an order, for its history."""
    traced = {"trace_id": trace_id(new.traceparent)} if new.traceparent else {}
    return {"request_id": new.request_id, **traced}


def _settlement_row(settlement: Settlement) -> _SettlementRow:
    claim = settlement.claim
    return _SettlementRow(
        order_id=claim.order_id,
        token=claim.token,
        from_status=claim.status,
        status=settlement.status,
        reason=settlement.reason,
        attempts=settlement.attempts,
        delay=settlement.delay,
        detail=settlement.detail,
    )


def _json(rows: list[NewOrder] | list[_SettlementRow]) -> str:
    """Encode rows as one parameter, which is faster than an array per column in psycopg."""
    return _encoder.encode(rows).decode()


async def insert_new(conn: Connection, orders: list[NewOrder], lease: timedelta, by: str) -> dict[uuid.UUID, datetime]:
    """Insert each order whose key is free, pending and leased with token 1. Returns the creation times by order id.

    Keys are inserted in order, so that two batches with common keys wait for each other and do not deadlock.
    """
    cursor = await conn.execute(
        """
        WITH wanted AS (
            SELECT * FROM json_to_recordset(%(wanted)s::json)
                AS w (order_id uuid, item_id text, quantity int, key text, fingerprint text, traceparent text)
        ), inserted AS (
            INSERT INTO orders (order_id, item_id, quantity, status, idempotency_key, fingerprint, traceparent,
                                attempts, lease_token, lease_until, next_attempt_at)
            SELECT order_id, item_id, quantity, 'pending', key, decode(fingerprint, 'base64'), traceparent,
                   1, 1, now() + %(lease)s, now() + %(lease)s
            FROM wanted
            ORDER BY key
            ON CONFLICT DO NOTHING
            RETURNING order_id, created_at
        ), logged AS (
            INSERT INTO order_events (order_id, "from", "to", detail)
            SELECT order_id, NULL, 'pending',
                   jsonb_build_object('by', %(by)s::text, 'attempt', 1, 'token', 1,
                                      'lease_seconds', extract(epoch FROM %(lease)s::interval)::float8)
                   || (%(origins)s::jsonb->order_id::text)
            FROM inserted
        )
        SELECT order_id, created_at FROM inserted
        """,
        {
            "lease": lease,
            "by": by,
            "wanted": _json(orders),
            "origins": _encoder.encode({new.order_id: _request_ids(new) for new in orders}).decode(),
        },
    )
    return dict(await cursor.fetchall())


async def by_keys(conn: Connection, keys: list[str]) -> dict[str, StoredOrder]:
    """Return stored orders by idempotency key."""
    cursor = await conn.execute(
        """
        SELECT order_id, item_id, quantity, status, reason, idempotency_key, attempts, created_at, updated_at,
               fingerprint, lease_token, coalesce(lease_until > now(), false)
        FROM orders WHERE idempotency_key = ANY(%s)
        """,
        [keys],
    )
    return {row[5]: StoredOrder(_order(row), *row[9:]) for row in await cursor.fetchall()}


async def settle(conn: Connection, settlements: list[Settlement], by: str) -> dict[tuple[uuid.UUID, int], datetime]:
    """Store each settlement whose claim is still in force. Returns the update times of those by order id and token.

    Settling ends the lease, so a claim settles once. An expired lease still settles if no other process has claimed the
    order.

    The condition excludes final states instead of listing unfinished ones: PostgreSQL would otherwise scan the index of
    unfinished orders, which still contains those just finished, instead of looking up each order by its id.
    """
    cursor = await conn.execute(
        """
        WITH wanted AS (
            SELECT * FROM json_to_recordset(%(settlements)s::json)
                AS s (order_id uuid, token bigint, from_status text, status text, reason text, attempts int,
                      delay float8, detail jsonb)
        ), settled AS (
            UPDATE orders o
            SET status = w.status, reason = w.reason, attempts = w.attempts, lease_until = NULL, updated_at = now(),
                next_attempt_at = now() + make_interval(secs => w.delay)
            FROM wanted w
            WHERE o.order_id = w.order_id AND o.lease_token = w.token
              AND o.status NOT IN ('confirmed', 'failed', 'dead') AND o.lease_until IS NOT NULL
            RETURNING o.order_id, w.token, o.updated_at, w.from_status, w.status, w.detail
        ), logged AS (
            INSERT INTO order_events (order_id, "from", "to", detail)
            SELECT order_id, from_status, status, detail || jsonb_build_object('by', %(by)s::text) FROM settled
        )
        SELECT order_id, token, updated_at FROM settled
        """,
        {"by": by, "settlements": _json([_settlement_row(settlement) for settlement in settlements])},
    )
    return {(order_id, token): updated_at for order_id, token, updated_at in await cursor.fetchall()}


async def by_ids(conn: Connection, order_ids: list[uuid.UUID]) -> dict[uuid.UUID, Order]:
    """Return orders by id."""
    cursor = await conn.execute(
        """
        SELECT order_id, item_id, quantity, status, reason, idempotency_key, attempts, created_at, updated_at
        FROM orders WHERE order_id = ANY(%s)
        """,
        [order_ids],
    )
    return {row[0]: _order(row) for row in await cursor.fetchall()}


async def claim_due(
    conn: Connection, lease: timedelta, by: str, limit: int, among: list[uuid.UUID] | None = None
) -> list[Claim]:
    """Lease up to `limit` orders that are due and without a lease, longest due first; only those in `among`, if given.

    Each claim is stored in its order's history, so that an audit can verify that no lease was cut short.
    """
    cursor = await conn.execute(
        """
        WITH due AS (
            SELECT id, lease_until IS NOT NULL AS abandoned FROM orders
            WHERE status IN ('pending', 'queued') AND next_attempt_at <= now()
              AND (lease_until IS NULL OR lease_until <= now())
              AND (%(among)s::uuid[] IS NULL OR order_id = ANY(%(among)s::uuid[]))
            ORDER BY next_attempt_at
            LIMIT %(limit)s
            FOR UPDATE SKIP LOCKED
        ), claimed AS (
            UPDATE orders o
            SET lease_until = now() + %(lease)s, next_attempt_at = now() + %(lease)s,
                lease_token = o.lease_token + 1, attempts = o.attempts + 1, updated_at = now()
            FROM due WHERE o.id = due.id
            RETURNING o.order_id, o.item_id, o.quantity, o.status, o.attempts, o.lease_token,
                      o.idempotency_key, o.created_at, o.traceparent, due.abandoned
        ), logged AS (
            INSERT INTO order_events (order_id, "from", "to", detail)
            SELECT order_id, status, status,
                   jsonb_build_object('by', %(by)s::text, 'attempt', attempts, 'token', lease_token,
                                      'cause', CASE WHEN abandoned THEN 'lease-ended' ELSE 'due' END,
                                      'lease_seconds', extract(epoch FROM %(lease)s::interval)::float8)
            FROM claimed
        )
        SELECT order_id, item_id, quantity, status, attempts, lease_token, idempotency_key, created_at, traceparent
        FROM claimed
        """,
        {"lease": lease, "by": by, "limit": limit, "among": among},
    )
    return [Claim(*row) for row in await cursor.fetchall()]


async def requeue(conn: Connection, order_ids: list[uuid.UUID] | None, by: str) -> list[uuid.UUID]:
    """Reset the attempts of dead orders, those named or all, and make them due now. Returns their ids."""
    cursor = await conn.execute(
        """
        WITH requeued AS (
            UPDATE orders
            SET status = 'queued', reason = 'requeued', attempts = 0, next_attempt_at = now(), lease_until = NULL,
                lease_token = lease_token + 1, updated_at = now()
            WHERE status = 'dead' AND (%(order_ids)s::uuid[] IS NULL OR order_id = ANY(%(order_ids)s::uuid[]))
            RETURNING order_id, lease_token
        ), logged AS (
            INSERT INTO order_events (order_id, "from", "to", detail)
            SELECT order_id, 'dead', 'queued',
                   jsonb_build_object('by', %(by)s::text, 'cause', 'requeued', 'token', lease_token)
            FROM requeued
        )
        SELECT order_id FROM requeued
        """,
        {"order_ids": order_ids, "by": by},
    )
    return [row[0] for row in await cursor.fetchall()]


async def events_of(conn: Connection, order_id: uuid.UUID) -> list[Event]:
    """Return the history of one order, oldest first."""
    cursor = await conn.execute(
        """SELECT at, "from", "to", detail FROM order_events WHERE order_id = %s ORDER BY id""", [order_id]
    )
    return [Event(*row) for row in await cursor.fetchall()]


async def page(conn: Connection, item_id: str | None, before: int | None, limit: int) -> list[tuple[int, Order]]:
    """Return orders, newest first, each with its position; only those before position `before`, if given."""
    cursor = await conn.execute(
        """
        SELECT order_id, item_id, quantity, status, reason, idempotency_key, attempts, created_at, updated_at, id
        FROM orders
        WHERE (%(before)s::bigint IS NULL OR id < %(before)s) AND (%(item_id)s::text IS NULL OR item_id = %(item_id)s)
        ORDER BY id DESC LIMIT %(limit)s
        """,
        {"before": before, "item_id": item_id, "limit": limit},
    )
    return [(row[9], _order(row)) for row in await cursor.fetchall()]


async def page_with_status(
    conn: Connection, status: Status, item_id: str | None, before: int | None, limit: int
) -> list[tuple[int, Order]]:
    """Like `page`, for one status: a separate statement, so that it uses the index on status."""
    cursor = await conn.execute(
        """
        SELECT order_id, item_id, quantity, status, reason, idempotency_key, attempts, created_at, updated_at, id
        FROM orders
        WHERE status = %(status)s
          AND (%(before)s::bigint IS NULL OR id < %(before)s) AND (%(item_id)s::text IS NULL OR item_id = %(item_id)s)
        ORDER BY id DESC LIMIT %(limit)s
        """,
        {"status": status, "before": before, "item_id": item_id, "limit": limit},
    )
    return [(row[9], _order(row)) for row in await cursor.fetchall()]


async def platform_id(conn: Connection) -> uuid.UUID:
    """Return the platform's id, which a restored database keeps."""
    cursor = await conn.execute("SELECT id FROM platform_identity")
    found: list[tuple[uuid.UUID]] = await cursor.fetchall()
    return found[0][0]


async def origin(conn: Connection) -> tuple[str, str]:
    """Return this database's identity, which differs from any other and any restored database, and its secret.

    Raises psycopg's ProgrammingError if the schema is older or not readable.
    """
    cursor = await conn.execute(
        """
        SELECT concat_ws('/', system_identifier,
                         CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END,
                         (SELECT oid FROM pg_database WHERE datname = current_database()),
                         'orders'::regclass::oid, pg_relation_filenode('orders'),
                         extract(epoch FROM pg_postmaster_start_time())),
               secret
        FROM pg_control_system(), private.platform
        """
    )
    ((identity, secret),) = await cursor.fetchall()
    return identity, secret
