"""Queries on order_db: keys, bodies, and orders that are unfinished for too long."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from valerix_cli.audit.journal_check import OrderRow
from valerix_cli.audit.model import Finding
from valerix_cli.audit.queries.databases import Connection, find_examples

CLOCK_TOLERANCE = timedelta(seconds=5)
"""A row may be ahead of now() by as long as a statement of the services may run."""
LONGEST_DELAY, LONGEST_LEASE = timedelta(seconds=65.5), timedelta(seconds=905)
"""The longest time until an order is due, and the longest lease, by any setting; both include the tolerance."""


def duplicate_keys(conn: Connection) -> Finding:
    return find_examples(
        conn,
        """
        WITH doubled AS MATERIALIZED (
            SELECT idempotency_key FROM orders GROUP BY idempotency_key HAVING count(*) > 1
        )
        SELECT idempotency_key, format('%%s orders have this key: %%s', count(*), string_agg(order_id::text, ', ')),
               count(*) OVER ()
        FROM orders JOIN doubled USING (idempotency_key)
        GROUP BY idempotency_key ORDER BY idempotency_key LIMIT %(shown)s
        """,
        "SELECT count(*) FROM orders",
    )


def wrong_fingerprints(conn: Connection) -> Finding:
    """Find orders whose fingerprint is not that of their body: a replay would be refused, or another body accepted."""
    return find_examples(
        conn,
        """
        SELECT order_id::text, format('it is for %%s x %%s, and its fingerprint is that of another body', quantity,
                                      item_id), count(*) OVER ()
        FROM orders
        WHERE fingerprint IS DISTINCT FROM sha256(convert_to('["' || item_id || '",' || quantity || ']', 'UTF8'))
        LIMIT %(shown)s
        """,
        "SELECT count(*) FROM orders",
    )


def unsettled(conn: Connection, limit: float) -> Finding:
    """Find unfinished orders older than `limit` seconds without a lease in force, or leased for longer than that.

    The age of a requeued order counts from its requeueing. An order written later than now() has an unknown age,
    because the clock was set back, and waits until the clock catches up: it counts as unsettled. So does an order that
    is due or leased for longer than any setting allows.
    """
    return find_examples(
        conn,
        """
        SELECT order_id::text,
               format('it is %%s %%s, reason %%s, attempts %%s, due %%s, lease until %%s', status,
                      CASE WHEN greatest(created_at, updated_at) > now() + %(tolerance)s
                          THEN format('and was written at %%s, which is later than now: the clock was set back',
                                      greatest(created_at, updated_at))
                          ELSE format('for %%s s now', round(extract(epoch FROM now() - created_at))) END,
                      coalesce(reason, 'none'), attempts, coalesce(next_attempt_at::text, 'never'),
                      coalesce(lease_until::text, 'none')), count(*) OVER ()
        FROM orders
        WHERE status IN ('pending', 'queued')
          AND (greatest(created_at, updated_at) > now() + %(tolerance)s
               OR next_attempt_at > now() + CASE WHEN lease_until IS NULL THEN %(delay)s ELSE %(lease)s END
               OR lease_until > now() + %(lease)s
               OR (created_at < now() - make_interval(secs => %(limit)s)
                   AND (lease_until IS NULL OR lease_until <= now()
                        OR lease_until > updated_at + make_interval(secs => %(limit)s))
                   AND NOT EXISTS (SELECT FROM order_events e WHERE e.order_id = orders.order_id AND e."from" = 'dead'
                                   AND e.at > now() - make_interval(secs => %(limit)s)
                                   AND e.at <= now() + %(tolerance)s)))
        ORDER BY created_at LIMIT %(shown)s
        """,
        "SELECT count(*) FROM orders",
        limit=limit,
        tolerance=CLOCK_TOLERANCE,
        delay=LONGEST_DELAY,
        lease=LONGEST_LEASE,
    )


def misdated(conn: Connection) -> frozenset[str]:
    """Return unfinished orders with a time that is probably too far ahead; only the order service can decide."""
    found = conn.execute(
        """
        SELECT order_id::text FROM orders
        WHERE status IN ('pending', 'queued')
          AND (greatest(created_at, updated_at) > now() + %(tolerance)s OR next_attempt_at IS NULL
               OR greatest(next_attempt_at, lease_until) > now() + %(delay)s)
        """,
        {"tolerance": CLOCK_TOLERANCE, "delay": LONGEST_DELAY},
    )
    return frozenset(row[0] for row in found)


def orders_by_status(conn: Connection) -> dict[str, int]:
    return dict(conn.execute("SELECT status, count(*) FROM orders GROUP BY status ORDER BY status").fetchall())


def orders_by_keys(conn: Connection, keys: Sequence[str]) -> list[OrderRow]:
    found = conn.execute(
        "SELECT idempotency_key, order_id::text, status, item_id, quantity FROM orders WHERE idempotency_key = ANY(%s)",
        [list(keys)],
    )
    return [OrderRow(*row) for row in found]


def orders_by_prefix(conn: Connection, prefix: str) -> Iterator[OrderRow]:
    """Return every order whose key starts with `prefix`."""
    with conn.cursor() as cursor:
        for row in cursor.stream(
            """
            SELECT idempotency_key, order_id::text, status, item_id, quantity FROM orders
            WHERE starts_with(idempotency_key, %s)
            """,
            [prefix],
        ):
            yield OrderRow(*row)
