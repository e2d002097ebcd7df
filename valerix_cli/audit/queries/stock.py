"""Queries on inventory_db: quantities, the ledger, and refusals."""

from valerix_cli.audit.model import Finding
from valerix_cli.audit.queries.databases import Connection, count, find_examples


def oversold(conn: Connection) -> Finding:
    return find_examples(
        conn,
        """
        SELECT item_id, format('its quantity is %%s, its reserved quantity %%s, and nothing is ever reserved', quantity,
                               reserved_quantity), count(*) OVER ()
        FROM inventory WHERE quantity < 0 OR reserved_quantity <> 0 ORDER BY item_id LIMIT %(shown)s
        """,
        "SELECT count(*) FROM inventory",
    )


def unbalanced(conn: Connection) -> Finding:
    """Find items whose quantity is not the sum of their ledger lines, and ledger lines of missing items."""
    return find_examples(
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


def invalid_ledger_lines(conn: Connection) -> Finding:
    """Find restocks without a key, unexpected keys and order ids, and items with more than one seed."""
    return find_examples(
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


def releases(conn: Connection) -> Finding:
    """Find stock that was given back, which no part of Valerix does."""
    return find_examples(
        conn,
        """
        SELECT order_id::text, format('%%s x %%s were given back (ledger line %%s)', quantity_change, item_id, id),
               count(*) OVER ()
        FROM inventory_transactions WHERE transaction_type = 'release' ORDER BY id LIMIT %(shown)s
        """,
    )


def refused_and_deducted(conn: Connection) -> Finding:
    return find_examples(
        conn,
        """
        SELECT order_id::text, format('it was refused (%%s), and %%s x %%s were deducted', reason, -quantity_change,
                                      t.item_id), count(*) OVER ()
        FROM refusals JOIN inventory_transactions t USING (order_id)
        WHERE transaction_type = 'deduct' ORDER BY order_id LIMIT %(shown)s
        """,
        "SELECT count(*) FROM refusals",
    )


def ledger_lines(conn: Connection) -> int:
    return count(conn, "SELECT count(*) FROM inventory_transactions")
