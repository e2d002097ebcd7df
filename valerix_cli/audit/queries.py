"""The SQL of an audit: one function, one question. All of it reads."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, LiteralString, TypeAlias

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from valerix_cli.audit.acknowledged import Row
from valerix_cli.audit.lines import Bucket
from valerix_cli.audit.model import SHOWN, Example, Found

Connection: TypeAlias = psycopg.Connection[TupleRow]

CLOCK_TOLERANCE = timedelta(seconds=5)
"""A row may seem to come from the future by as long as a statement of the services may run."""
LONGEST_DELAY, LONGEST_LEASE = timedelta(seconds=65.5), timedelta(seconds=905)
"""How far ahead an order may be due, and leased, by any setting of the services; the tolerance is in both."""
_ORDERED: LiteralString = "order_id || E'\\t' || item_id || E'\\t' || quantity"


def confirmed_orders(conn: Connection) -> Iterator[Bucket]:
    return _buckets(conn, _ORDERED, "orders WHERE status = 'confirmed'")


def living_orders(conn: Connection) -> Iterator[Bucket]:
    """Every order that has not failed."""
    return _buckets(conn, _ORDERED, "orders WHERE status <> 'failed'")


def deductions(conn: Connection) -> Iterator[Bucket]:
    line = "order_id || E'\\t' || item_id || E'\\t' || -quantity_change"
    return _buckets(conn, line, "inventory_transactions WHERE transaction_type = 'deduct'")


def failed_orders(conn: Connection) -> Iterator[Bucket]:
    line = "concat_ws(E'\\t', order_id, item_id, quantity, coalesce(reason, 'no reason'))"
    return _buckets(conn, line, "orders WHERE status = 'failed'")


def unconfirmed_orders(conn: Connection) -> Iterator[Bucket]:
    return _buckets(conn, _ORDERED, "orders WHERE status <> 'confirmed'")


def reasoned_refusals(conn: Connection) -> Iterator[Bucket]:
    return _buckets(conn, "concat_ws(E'\\t', order_id, item_id, quantity, reason)", "refusals")


def refusals(conn: Connection) -> Iterator[Bucket]:
    return _buckets(conn, _ORDERED, "refusals")


def _buckets(conn: Connection, line: LiteralString, source: LiteralString) -> Iterator[Bucket]:
    """The lines of `source` by order id, 4,096 buckets of them, as they come: a million orders take no room here."""
    query = sql.SQL(
        """
        SELECT get_byte(uuid_send(order_id), 0) * 16 + get_byte(uuid_send(order_id), 1) / 16 AS bucket,
               count(*), count(DISTINCT order_id), string_agg({line}, E'\\n' ORDER BY order_id)
        FROM {source} GROUP BY bucket ORDER BY bucket
        """
    ).format(line=sql.SQL(line), source=sql.SQL(source))
    with conn.cursor() as cursor:
        for row in cursor.stream(query):
            yield Bucket(*row)


def releases(conn: Connection) -> Found:
    """Stock given back. No part of Valerix does that."""
    return _examples(
        conn,
        """
        SELECT order_id::text, format('%%s x %%s were given back (ledger line %%s)', quantity_change, item_id, id),
               count(*) OVER ()
        FROM inventory_transactions WHERE transaction_type = 'release' ORDER BY id LIMIT %(shown)s
        """,
    )


def doubled_keys(conn: Connection) -> Found:
    return _examples(
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


def oversold(conn: Connection) -> Found:
    return _examples(
        conn,
        """
        SELECT item_id, format('its quantity is %%s, its reserved quantity %%s, and nothing is ever reserved', quantity,
                               reserved_quantity), count(*) OVER ()
        FROM inventory WHERE quantity < 0 OR reserved_quantity <> 0 ORDER BY item_id LIMIT %(shown)s
        """,
        "SELECT count(*) FROM inventory",
    )


def unbalanced(conn: Connection) -> Found:
    """Items whose quantity is not the sum of their ledger lines, and ledger lines of items that are not there."""
    return _examples(
        conn,
        """
        SELECT item_id,
               format('its quantity is %%s, and its ledger lines add up to %%s',
                      coalesce(quantity::text, 'none'), coalesce(booked, 0)),
               count(*) OVER ()
        FROM inventory
        FULL JOIN (
            SELECT item_id, sum(quantity_change) AS booked FROM inventory_transactions GROUP BY item_id
        ) AS ledger USING (item_id)
        WHERE quantity IS DISTINCT FROM coalesce(booked, 0) ORDER BY item_id LIMIT %(shown)s
        """,
        "SELECT count(*) FROM inventory",
    )


def other_fingerprints(conn: Connection) -> Found:
    """Orders whose fingerprint is not that of their body: a repeat of it would be refused, or another body accepted."""
    return _examples(
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


def disordered_ledger(conn: Connection) -> Found:
    """Restocks that nobody asked for under a key, keys and orders where none belong, items that began twice."""
    return _examples(
        conn,
        """
        SELECT subject, wrong, count(*) OVER ()
        FROM (
            SELECT id, item_id AS subject,
                   format('ledger line %%s, a %%s of %%s, has %%s and %%s', id, transaction_type, quantity_change,
                          CASE WHEN idempotency_key IS NULL THEN 'no key' ELSE 'a key' END,
                          CASE WHEN order_id IS NULL THEN 'no order' ELSE 'order ' || order_id END) AS wrong
            FROM inventory_transactions
            WHERE transaction_type NOT IN ('seed', 'restock', 'deduct', 'release')
               OR (idempotency_key IS NOT NULL) <> (transaction_type = 'restock')
               OR (order_id IS NOT NULL AND transaction_type IN ('seed', 'restock'))
            UNION ALL
            SELECT min(id), item_id, format('it has %%s seeds', count(*))
            FROM inventory_transactions WHERE transaction_type = 'seed' GROUP BY item_id HAVING count(*) > 1
        ) AS found
        ORDER BY id LIMIT %(shown)s
        """,
        "SELECT count(*) FROM inventory_transactions",
    )


def other_reasons(conn: Connection) -> Found:
    """Orders whose reason is not what their last step gave as its cause. Those of failed orders are held elsewhere."""
    return _examples(
        conn,
        """
        SELECT order_id::text, format('it is %%s because of %%s, and its history says %%s', status,
                                      coalesce(reason, 'nothing'), coalesce(cause, 'nothing')), count(*) OVER ()
        FROM (
            SELECT order_id, status, reason,
                   (SELECT detail->>'cause' FROM order_events e
                    WHERE e.order_id = o.order_id AND NOT detail ? 'lease_seconds'
                      AND detail->>'cause' IS DISTINCT FROM 'clock-set-back'
                    ORDER BY id DESC LIMIT 1) AS cause
            FROM orders o WHERE status IN ('pending', 'queued', 'dead')
            UNION ALL
            SELECT order_id, status, reason, NULL FROM orders WHERE status = 'confirmed' AND reason IS NOT NULL
        ) AS told
        WHERE reason IS DISTINCT FROM cause ORDER BY order_id LIMIT %(shown)s
        """,
    )


def other_tokens(conn: Connection) -> Found:
    """Unfinished orders whose fencing token is not the one that their history ends with."""
    return _examples(
        conn,
        """
        SELECT order_id::text, format('its token is %%s, and its history ends with %%s', lease_token,
                                      coalesce(token, 'none')), count(*) OVER ()
        FROM (
            SELECT order_id, lease_token,
                   (SELECT detail->>'token' FROM order_events e WHERE e.order_id = o.order_id
                    ORDER BY id DESC LIMIT 1) AS token
            FROM orders o WHERE status IN ('pending', 'queued', 'dead')
        ) AS held
        WHERE lease_token::text IS DISTINCT FROM token ORDER BY order_id LIMIT %(shown)s
        """,
    )


def refused_and_deducted(conn: Connection) -> Found:
    return _examples(
        conn,
        """
        SELECT order_id::text, format('it was refused (%%s), and %%s x %%s were deducted', reason, -quantity_change,
                                      t.item_id), count(*) OVER ()
        FROM refusals JOIN inventory_transactions t USING (order_id)
        WHERE transaction_type = 'deduct' ORDER BY order_id LIMIT %(shown)s
        """,
        "SELECT count(*) FROM refusals",
    )


def broken_histories(conn: Connection) -> Found:
    """Transitions that leave a final status, do not begin where the last one ended, or do not end where the order is.

    Ids of transitions of one order follow each other in time: they are given while its row is locked. OFFSET 0 keeps
    the details out of what is sorted, which takes twice as long with them.
    """
    return _examples(
        conn,
        """
        SELECT coalesce(step.order_id, o.order_id)::text,
               CASE
                   WHEN step.order_id IS NULL THEN format('it is %%s, and has no history', status)
                   WHEN "from" IS DISTINCT FROM before
                       THEN format('a transition at %%s leads from %%s to %%s, and the one before ended in %%s', at,
                                   coalesce("from", 'nothing'), "to", coalesce(before, 'nothing'))
                   WHEN "from" IN ('confirmed', 'failed', 'dead')
                       THEN format('it left its final status %%s for %%s at %%s', "from", "to", at)
                   WHEN o.order_id IS NULL THEN format('its history ends in %%s, and there is no such order', "to")
                   ELSE format('its history ends in %%s, and it is %%s', "to", status)
               END,
               count(*) OVER ()
        FROM (
            SELECT order_id, at, "from", "to", cause, lag("to") OVER life AS before,
                   lead("to") OVER life IS NULL AS is_last
            FROM (
                SELECT order_id, id, at, "from", "to", CASE WHEN "from" = 'dead' THEN detail->>'cause' END AS cause
                FROM order_events OFFSET 0
            ) AS event
            WINDOW life AS (PARTITION BY order_id ORDER BY id)
        ) AS step
        FULL JOIN orders o ON o.order_id = step.order_id AND step.is_last
        WHERE step.order_id IS NULL
           OR "from" IS DISTINCT FROM before
           OR "from" IN ('confirmed', 'failed')
           OR ("from" = 'dead' AND NOT ("to" = 'queued' AND cause = 'requeued'))
           OR (is_last AND "to" IS DISTINCT FROM status)
        ORDER BY 1 LIMIT %(shown)s
        """,
        "SELECT count(*) FROM order_events",
    )


def broken_leases(conn: Connection) -> Found:
    """Claims made while the lease before was in force, and settlements by somebody whose claim was not.

    Who takes an order in hand, by accepting or claiming it, writes down the token and the length of the lease; a
    settlement gives it out of hand under the token in force, a requeueing under a new one. Whoever finds that the clock
    was set back writes down under the token in force what is left of the lease; the history must show that it was.
    Orders that were accepted, settled and never claimed are left out: there, that is all that can have happened.
    """
    return _examples(
        conn,
        """
        WITH step AS (
            SELECT *, lag(token) OVER life AS held, lag(at + make_interval(secs => lease)) OVER life AS held_until,
                   lag(at) OVER life AS before
            FROM (SELECT DISTINCT order_id FROM order_events WHERE "from" = "to") AS claimed
            CROSS JOIN LATERAL (
                SELECT id, at, "from", "to", detail->>'by' AS by, (detail->>'token')::bigint AS token,
                       (detail->>'lease_seconds')::float8 AS lease,
                       "from" = "to" AND detail->>'cause' = 'clock-set-back' AS is_correction
                FROM order_events e WHERE e.order_id = claimed.order_id OFFSET 0
            ) AS event
            WINDOW life AS (PARTITION BY order_id ORDER BY id)
        )
        SELECT order_id::text,
               CASE
                   WHEN is_correction
                       THEN format('%%s corrected its times at %%s under token %%s, after token %%s at %%s', by, at,
                                   token, held, before)
                   WHEN lease IS NOT NULL AND token = held + 1
                       THEN format('%%s took it at %%s under token %%s, and it was leased under token %%s until %%s',
                                   by, at, token, held, held_until)
                   ELSE format('%%s moved it from %%s to %%s at %%s under token %%s, after token %%s%%s', by, "from",
                               "to", at, token, held, CASE WHEN held_until IS NULL THEN ', which nobody held' END)
               END,
               count(*) OVER ()
        FROM step
        WHERE "from" IS NOT NULL
          AND CASE
                  WHEN is_correction
                      THEN token IS DISTINCT FROM held OR at >= before OR (lease IS NOT NULL AND held_until IS NULL)
                  WHEN lease IS NOT NULL THEN token IS DISTINCT FROM held + 1 OR at < held_until
                  WHEN "from" = 'dead' THEN token IS DISTINCT FROM held + 1
                  ELSE token IS DISTINCT FROM held OR held_until IS NULL
              END
        ORDER BY order_id LIMIT %(shown)s
        """,
        """SELECT count(*) FROM order_events WHERE "from" = "to" AND detail ? 'lease_seconds'""",
    )


def unsettled(conn: Connection, limit: float) -> Found:
    """Unfinished orders older than `limit` seconds that nobody has in hand, or that are leased for longer than that.

    The age of one that was requeued counts from there. One that was accepted or written later than now has an age that
    nobody knows, because the clock was set back meanwhile, and waits until the clock gets there again: it counts too.
    So does one that is due, or leased, for longer than any setting allows.
    """
    return _examples(
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


def ledger_lines(conn: Connection) -> int:
    return _count(conn, "SELECT count(*) FROM inventory_transactions")


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


def identity(conn: Connection) -> str:
    """Which database this is, as the order service names it in what it caches."""
    row = conn.execute(
        """
        SELECT concat_ws('/', system_identifier,
                         CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END,
                         (SELECT oid FROM pg_database WHERE datname = current_database()),
                         'orders'::regclass::oid, pg_relation_filenode('orders'),
                         extract(epoch FROM pg_postmaster_start_time()))
        FROM pg_control_system()
        """
    ).fetchone()
    return str(row[0]) if row else ""


def platform(conn: Connection) -> str | None:
    """Which platform these are the orders of; None where the schema is older."""
    if not is_ours(conn, "platform_identity"):
        return None
    row = conn.execute("SELECT id::text FROM platform_identity").fetchone()
    return row[0] if row else None


def is_ours(conn: Connection, table: str) -> bool:
    """Whether the schema of a Valerix service is there, and may be read."""
    row = conn.execute(
        "SELECT to_regclass(%(table)s) IS NOT NULL AND has_table_privilege(%(table)s, 'SELECT')", {"table": table}
    ).fetchone()
    return bool(row and row[0])


def _examples(
    conn: Connection, query: LiteralString, population: LiteralString | None = None, **parameters: Any
) -> Found:
    """Rows of subject, what is wrong, and how many there are altogether."""
    rows = conn.execute(query, {"shown": SHOWN, **parameters}).fetchall()
    checked = _count(conn, population) if population else 0
    return Found(checked, rows[0][2] if rows else 0, [Example(row[0], row[1]) for row in rows])


def _count(conn: Connection, query: LiteralString) -> int:
    row = conn.execute(query).fetchone()
    return int(row[0]) if row else 0
