"""What the order service and its worker count. Labels come from code, never from a caller.

Those counted for each order are functions of their label, which find each child once. What an alert counts is there
from the beginning: of a counter that appears with its first count, Prometheus sees no increase.
"""

import functools
from itertools import permutations

from prometheus_client import Counter, Gauge, Histogram

processing_duration = functools.cache(
    Histogram(
        "order_processing_duration_seconds",
        "From acceptance to the answer, by what was answered",
        ["status"],
        buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    ).labels
)
created = functools.cache(
    Counter("orders_created_total", "Orders accepted, by what they were first answered with", ["status"]).labels
)
CACHE_HITS = Counter("idempotency_cache_hits_total", "Repeats answered from Redis")
CACHE_MISSES = Counter("idempotency_cache_misses_total", "Keys that Redis did not know or could not tell")
CACHE_REJECTED = Counter(
    "idempotency_cache_rejected_total", "Answers in Redis that this database has not signed, which were not believed"
)
CONFLICTS = Counter("idempotency_conflicts_total", "Repeats refused, by why", ["kind"])
for _kind in ("in-flight", "reused"):
    CONFLICTS.labels(_kind)

BREAKER_STATE = Gauge("circuit_breaker_state", "0 closed, 1 open, 2 half-open")
BREAKER_TRANSITIONS = Counter("circuit_breaker_transitions_total", "Changes of state", ["from", "to"])
breaker_calls = functools.cache(
    Counter("circuit_breaker_calls_total", "Calls to inventory by how they ended", ["outcome"]).labels
)

QUEUE_DEPTH = Gauge("order_queue_depth", "Unfinished orders in nobody's hands")
QUEUE_OLDEST_AGE = Gauge("order_queue_oldest_age_seconds", "Age of the oldest of them, 0 when there is none")
DATES_CORRECTED = Counter(
    "orders_dates_corrected_total", "Unfinished orders with times that could not be right, which were corrected"
)
DEAD = Gauge("orders_dead", "Orders that need an operator")
WORKER_HEARTBEAT = Gauge("worker_last_heartbeat_timestamp_seconds", "When the worker last looked for work")
WORKER_HEARTBEAT_AGE = Gauge(
    "worker_last_heartbeat_age_seconds", "How long ago that was, whatever clocks say; 0 where nobody ever looks"
)

STATES = {"closed": 0, "open": 1, "half-open": 2}
BREAKER_STATE.set(STATES["closed"])
for _from, _to in permutations(STATES, 2):
    BREAKER_TRANSITIONS.labels(_from, _to)
