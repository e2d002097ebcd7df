"""What order_db is asked: keys, bodies, and what is unfinished for too long."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from valerix_cli.audit.acknowledged import Row
from valerix_cli.audit.model import Found
from valerix_cli.audit.queries.databases import Connection, examples

CLOCK_TOLERANCE = timedelta(seconds=5)
"""A row may seem to come from the future by as long as a statement of the services may run."""
LONGEST_DELAY, LONGEST_LEASE = timedelta(seconds=65.5), timedelta(seconds=905)
"""How far ahead an order may be due, and leased, by any setting of the services; the tolerance is in both."""


def doubled_keys(conn: Connection) -> Found:
    return examples(
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


def other_fingerprints(conn: Connection) -> Found:
    """Orders whose fingerprint is not that of their body: a repeat of it would be refused, or another body accepted."""
    return examples(
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


def unsettled(conn: Connection, limit: float) -> Found:
    """Unfinished orders older than `limit` seconds that nobody has in hand, or that are leased for longer than that.

    The age of one that was requeued counts from there. One that was accepted or written later than now has an age that
    nobody knows, because the clock was set back meanwhile, and waits until the clock gets there again: it counts too.
    So does one that is due, or leased, for longer than any setting allows.
    """
    return examples(
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
    """Unfinished orders with a time that may be too far ahead to be right, which only the order service can tell."""
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


def orders_of(conn: Connection, keys: Sequence[str]) -> list[Row]:
    found = conn.execute(
        "SELECT idempotency_key, order_id::text, status, item_id, quantity FROM orders WHERE idempotency_key = ANY(%s)",
        [list(keys)],
    )
    return [Row(*row) for row in found]


def keys_beginning(conn: Connection, prefix: str) -> Iterator[Row]:
    """Every order whose key begins so."""
    with conn.cursor() as cursor:
        for row in cursor.stream(
            """
            SELECT idempotency_key, order_id::text, status, item_id, quantity FROM orders
            WHERE starts_with(idempotency_key, %s)
            """,
            [prefix],
        ):
            yield Row(*row)
