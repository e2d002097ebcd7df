"""The SQL of an audit: one function, one question. All of it reads."""

from valerix_cli.audit.queries import databases, history, orders, stock, streams

__all__ = ["databases", "history", "orders", "stock", "streams"]
