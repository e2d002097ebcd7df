"""Orders, deductions and refusals as buckets of lines, sorted by the databases."""

from collections.abc import Iterator
from typing import LiteralString

from psycopg import sql

from valerix_cli.audit.comparison import Bucket
from valerix_cli.audit.queries.databases import Connection

_ORDER_LINE: LiteralString = "order_id || E'\\t' || item_id || E'\\t' || quantity"


def confirmed_orders(conn: Connection) -> Iterator[Bucket]:
    return _buckets(conn, _ORDER_LINE, "orders WHERE status = 'confirmed'")


def non_failed_orders(conn: Connection) -> Iterator[Bucket]:
    """Stream every order that has not failed."""
    return _buckets(conn, _ORDER_LINE, "orders WHERE status <> 'failed'")


def failed_orders(conn: Connection) -> Iterator[Bucket]:
    line = "concat_ws(E'\\t', order_id, item_id, quantity, coalesce(reason, 'no reason'))"
    return _buckets(conn, line, "orders WHERE status = 'failed'")


def unconfirmed_orders(conn: Connection) -> Iterator[Bucket]:
    return _buckets(conn, _ORDER_LINE, "orders WHERE status <> 'confirmed'")


def deductions(conn: Connection) -> Iterator[Bucket]:
    line = "order_id || E'\\t' || item_id || E'\\t' || -quantity_change"
    return _buckets(conn, line, "inventory_transactions WHERE transaction_type = 'deduct'")


def refusals_with_reason(conn: Connection) -> Iterator[Bucket]:
    return _buckets(conn, "concat_ws(E'\\t', order_id, item_id, quantity, reason)", "refusals")


def refusals(conn: Connection) -> Iterator[Bucket]:
    return _buckets(conn, _ORDER_LINE, "refusals")


def _buckets(conn: Connection, line: LiteralString, source: LiteralString) -> Iterator[Bucket]:
    """Stream the lines of `source`, sorted by order id, in up to 4,096 buckets; only one bucket is held in memory."""
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
