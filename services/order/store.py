"""The SQL of orders: one function, one statement. A list in, a list out."""

import uuid
from datetime import datetime, timedelta
from typing import Any

import msgspec
from psycopg.rows import TupleRow

from services.common.context import trace_id
from services.common.postgres import Connection
from services.order.domain import (
    Claim,
    NewOrder,
    Order,
    Settlement,
    Status,
    Stored,
)


class Event(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """One step of an order: a transition, or a claim, which leaves the status as it is."""

    at: datetime
    from_: str | None
    to: str
    detail: dict[str, Any]


class _Settled(msgspec.Struct, frozen=True, gc=False):
    """A settlement as the server reads it fastest: of an object in an object it would parse the inner one per field."""

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


def _origin(new: NewOrder) -> dict[str, str]:
    """Where an order came from, for its history."""
    traced = {"trace_id": trace_id(new.traceparent)} if new.traceparent else {}
    return {"request_id": new.request_id, **traced}


def _flat(settlement: Settlement) -> _Settled:
    claim = settlement.claim
    return _Settled(
        order_id=claim.order_id,
        token=claim.token,
        from_status=claim.status,
        status=settlement.status,
        reason=settlement.reason,
        attempts=settlement.attempts,
        delay=settlement.delay,
        detail=settlement.detail,
    )


def _json(rows: list[NewOrder] | list[_Settled]) -> str:
    """A list as one parameter: the server reads it in less time than psycopg needs to write an array per column."""
    return _encoder.encode(rows).decode()


async def insert_new(conn: Connection, wanted: list[NewOrder], lease: timedelta, by: str) -> dict[uuid.UUID, datetime]:
    """Insert each order whose key is free, pending and leased to us with token 1. Return when, for each inserted.

    The keys are inserted in order, so that two batches with keys in common wait for each other and do not deadlock.
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
            "wanted": _json(wanted),
            "origins": _encoder.encode({new.order_id: _origin(new) for new in wanted}).decode(),
        },
    )
    return dict(await cursor.fetchall())


async def by_keys(conn: Connection, keys: list[str]) -> dict[str, Stored]:
    cursor = await conn.execute(
        """
        SELECT order_id, item_id, quantity, status, reason, idempotency_key, attempts, created_at, updated_at,
               fingerprint, lease_token, coalesce(lease_until > now(), false)
        FROM orders WHERE idempotency_key = ANY(%s)
        """,
        [keys],
    )
    return {row[5]: Stored(_order(row), *row[9:]) for row in await cursor.fetchall()}


async def settle(conn: Connection, settlements: list[Settlement], by: str) -> dict[tuple[uuid.UUID, int], datetime]:
    """Write each settlement whose claim is still the one in force. Return when, by order and token; others are missing.

    Settling gives the order out of hand, so a claim settles once; a lease that has ended does as long as nobody
    else has claimed the order.

    Unfinished is said by what it is not: else PostgreSQL looks through the index of unfinished orders, in which those
    that have just been finished are still, instead of looking each order up by its id.
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
        {"by": by, "settlements": _json([_flat(settlement) for settlement in settlements])},
    )
    return {(order_id, token): updated_at for order_id, token, updated_at in await cursor.fetchall()}


async def by_ids(conn: Connection, order_ids: list[uuid.UUID]) -> dict[uuid.UUID, Order]:
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
    """Lease up to `limit` orders that are due and in nobody's hands, oldest due first; only those `among`, if given.

    Each claim is written into its order's history, so that it can be shown that no lease was cut short.
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
    """Give dead orders their attempts back and make them due now: those named, or all. Return which they were."""
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
    cursor = await conn.execute(
        """SELECT at, "from", "to", detail FROM order_events WHERE order_id = %s ORDER BY id""", [order_id]
    )
    return [Event(*row) for row in await cursor.fetchall()]


async def page(conn: Connection, item_id: str | None, before: int | None, limit: int) -> list[tuple[int, Order]]:
    """Newest first, each with its position; `before` a position, if given."""
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
    """As `page`, of one status: a statement of its own so that the index on status serves it."""
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
    """Return which platform these are the orders of; a restored database says the same as the one that was saved."""
    cursor = await conn.execute("SELECT id FROM platform_identity")
    found: list[tuple[uuid.UUID]] = await cursor.fetchall()
    return found[0][0]


async def origin(conn: Connection) -> tuple[str, str]:
    """Return which database this is, in words that no other database has and no restored one, and its secret.

    Raises psycopg's ProgrammingError where the schema is older, or may not be read.
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
