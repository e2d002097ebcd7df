"""Explanations of the states of orders, breakers and gremlins, and of the reasons why an order waits."""

from valerix_cli.error_reference.entry import Entry

STATUSES = (
    Entry(
        "order status",
        "pending",
        "Stored and being worked on.",
        "the order is durable; its deduction is on the way",
        "valerix order trace ID",
    ),
    Entry(
        "order status",
        "queued",
        "The outcome at inventory is not known yet; the worker finds out.",
        "inventory was too slow, broke, or the breaker is open; stock was taken once or not at all",
        "wait: valerix order watch ID",
    ),
    Entry(
        "order status", "confirmed", "Stock was deducted exactly once. Final.", "inventory said yes", "nothing to do"
    ),
    Entry(
        "order status",
        "failed",
        "Refused; no stock was taken. Final.",
        "the reason says which: insufficient-stock or unknown-item",
        "order again under a new key",
    ),
    Entry(
        "order status",
        "dead",
        "All attempts were used up and inventory has no outcome.",
        "inventory was away for longer than the attempts lasted",
        "valerix queue requeue ID",
    ),
)

CAUSES = (
    Entry(
        "cause",
        "timeout",
        "Inventory did not answer in time, so the outcome is not known.",
        "it is slow, overloaded, or a latency gremlin is live",
        "wait: valerix order watch ID",
    ),
    Entry(
        "cause",
        "lost answer",
        "Inventory hung up before it answered, so the outcome is not known.",
        "it died, or a crash or partial-failure gremlin is live",
        "wait: valerix order watch ID",
    ),
    Entry(
        "cause",
        "connection error",
        "Inventory could not be reached.",
        "no replica of it runs",
        "valerix status",
    ),
    Entry(
        "cause",
        "breaker-open",
        "The breaker is open, so nothing was sent.",
        "too many calls failed, or an operator forced it",
        "valerix breaker status",
    ),
    Entry(
        "cause",
        "attempts-exhausted",
        "All attempts were used up and inventory has no outcome.",
        "inventory was away for longer than the attempts lasted",
        "valerix queue requeue ID",
    ),
)

STATES = (
    Entry(
        "breaker state",
        "closed",
        "Calls go to inventory.",
        "fewer calls fail than the threshold allows",
        "nothing",
    ),
    Entry(
        "breaker state",
        "open",
        "Calls are not sent; orders are queued at once.",
        "half of the calls in the window failed, or an operator forced it",
        "valerix breaker status",
    ),
    Entry(
        "breaker state",
        "half-open",
        "One trial call at a time is let through.",
        "the open time is over; one success closes it, one failure opens it again",
        "wait, or valerix breaker history",
    ),
)

GREMLINS = (
    Entry("gremlin", "latency", "Inventory answers late.", "valerix chaos on latency", "valerix chaos off"),
    Entry(
        "gremlin",
        "crash",
        "Inventory answers 500, 503 or hangs up, before any work.",
        "valerix chaos on crash",
        "valerix chaos off",
    ),
    Entry(
        "gremlin",
        "partial-failure",
        "Inventory commits and then answers 500 or not at all: Schrödinger's warehouse.",
        "valerix chaos on partial-failure",
        "valerix chaos off",
    ),
)
