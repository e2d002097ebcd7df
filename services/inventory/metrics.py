"""Metrics of the inventory service. Label values are stocked items and constants, never input from callers."""

from prometheus_client import Counter, Gauge

from services.inventory.gremlins import GREMLINS

STOCK = Gauge("inventory_stock_level", "Units in stock, refreshed from the database every second", ["item_id"])

_transactions = Counter("inventory_transactions_total", "Ledger lines added by this process", ["type"])
DEDUCTIONS = _transactions.labels("deduct")
RESTOCKS = _transactions.labels("restock")

_enabled = Gauge("inventory_chaos_enabled", "1 while a live activation has this gremlin", ["type"])
CHAOS_ENABLED = {gremlin: _enabled.labels(gremlin) for gremlin in GREMLINS}

_events = Counter("inventory_chaos_events_total", "Faults injected by this process", ["type"])
CHAOS_EVENTS = {gremlin: _events.labels(gremlin) for gremlin in GREMLINS}
