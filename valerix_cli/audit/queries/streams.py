"""Orders, deductions and refusals as lines, sorted by the databases, to be held side by side."""

from collections.abc import Iterator
from typing import LiteralString

from psycopg import sql

from valerix_cli.audit.lines import Bucket
from valerix_cli.audit.queries.databases import Connection

_ORDERED: LiteralString = "order_id || E'\\t' || item_id || E'\\t' || quantity"


def confirmed_orders(conn: Connection) -> Iterator[Bucket]:
    return _buckets(conn, _ORDERED, "orders WHERE status = 'confirmed'")


def living_orders(conn: Connection) -> Iterator[Bucket]:
    """Every order that has not failed."""
    return _buckets(conn, _ORDERED, "orders WHERE status <> 'failed'")


def failed_orders(conn: Connection) -> Iterator[Bucket]:
    line = "concat_ws(E'\\t', order_id, item_id, quantity, coalesce(reason, 'no reason'))"
    return _buckets(conn, line, "orders WHERE status = 'failed'")


def unconfirmed_orders(conn: Connection) -> Iterator[Bucket]:
    return _buckets(conn, _ORDERED, "orders WHERE status <> 'confirmed'")


def deductions(conn: Connection) -> Iterator[Bucket]:
    line = "order_id || E'\\t' || item_id || E'\\t' || -quantity_change"
    return _buckets(conn, line, "inventory_transactions WHERE transaction_type = 'deduct'")


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
