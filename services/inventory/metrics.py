"""What the inventory service counts. Labels are items of the catalogue and words of the code, never a caller's."""

from prometheus_client import Counter, Gauge

from services.inventory.gremlins import GREMLINS

STOCK = Gauge("inventory_stock_level", "Units in stock, as the database had it within the last seconds", ["item_id"])

_transactions = Counter("inventory_transactions_total", "Lines this process added to the ledger", ["type"])
DEDUCTIONS = _transactions.labels("deduct")
RESTOCKS = _transactions.labels("restock")

_enabled = Gauge("inventory_chaos_enabled", "1 while a live activation has this gremlin", ["type"])
CHAOS_ENABLED = {gremlin: _enabled.labels(gremlin) for gremlin in GREMLINS}

_events = Counter("inventory_chaos_events_total", "Faults that this process really injected", ["type"])
CHAOS_EVENTS = {gremlin: _events.labels(gremlin) for gremlin in GREMLINS}
