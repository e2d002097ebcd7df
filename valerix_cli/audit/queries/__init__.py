"""The SQL of an audit. One function, one query; all queries only read."""

from valerix_cli.audit.queries import databases, history, orders, stock, streams

__all__ = ["databases", "history", "orders", "stock", "streams"]
