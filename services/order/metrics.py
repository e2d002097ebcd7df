"""Metrics of the order service and its worker. Label values are constants, never input from callers.

Metrics that each order updates are functions of their label that cache the child. Counters used by alerts are created
at start: Prometheus sees no increase in a counter that appears with its first count.
"""

import functools
from itertools import permutations

from prometheus_client import Counter, Gauge, Histogram

processing_duration = functools.cache(
    Histogram(
        "order_processing_duration_seconds",
        "From acceptance to the response, by the order's status",
        ["status"],
        buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    ).labels
)
created = functools.cache(
    Counter("orders_created_total", "Orders accepted, by the status in the first response", ["status"]).labels
)
CACHE_HITS = Counter("idempotency_cache_hits_total", "Replays answered from Redis")
CACHE_MISSES = Counter("idempotency_cache_misses_total", "Keys that Redis did not have, or could not return")
CACHE_REJECTED = Counter(
    "idempotency_cache_rejected_total",
    "Cache entries rejected because this database has not signed them",
)
CONFLICTS = Counter("idempotency_conflicts_total", "Replays refused, by reason", ["kind"])
for _kind in ("in-flight", "reused"):
    CONFLICTS.labels(_kind)

BREAKER_STATE = Gauge("circuit_breaker_state", "0 closed, 1 open, 2 half-open")
BREAKER_TRANSITIONS = Counter("circuit_breaker_transitions_total", "Changes of state", ["from", "to"])
breaker_calls = functools.cache(
    Counter("circuit_breaker_calls_total", "Calls to inventory by outcome", ["outcome"]).labels
)

QUEUE_DEPTH = Gauge("order_queue_depth", "Unfinished orders that no process has a lease on")
QUEUE_OLDEST_AGE = Gauge("order_queue_oldest_age_seconds", "Age of the oldest of them, 0 if there is none")
DATES_CORRECTED = Counter("orders_dates_corrected_total", "Unfinished orders whose impossible times were corrected")
DEAD = Gauge("orders_dead", "Orders that need an operator")
WORKER_HEARTBEAT = Gauge("worker_last_heartbeat_timestamp_seconds", "When the worker last looked for work")
WORKER_HEARTBEAT_AGE = Gauge(
    "worker_last_heartbeat_age_seconds",
    "Seconds since then by the monotonic clock; 0 in a process that is not a worker",
)

STATES = {"closed": 0, "open": 1, "half-open": 2}
BREAKER_STATE.set(STATES["closed"])
for _from, _to in permutations(STATES, 2):
    BREAKER_TRANSITIONS.labels(_from, _to)
