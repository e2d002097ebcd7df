"""Metrics of the dashboard: its audits and sign-ins."""

import functools

from prometheus_client import Counter, Gauge

AUDIT_BROKEN = Gauge("audit_broken_invariants", "Invariants that the latest audit found violated")
AUDIT_FINISHED = Gauge("audit_finished_timestamp_seconds", "When the latest audit ended, 0 before the first")
sign_ins = functools.cache(Counter("dashboard_sign_ins_total", "Attempts to sign in, by outcome", ["outcome"]).labels)
"""Return the counter of an outcome: `opened`, `refused` or `limited`."""
for _outcome in ("opened", "refused", "limited"):  # created at start, so that the first count is an increase
    sign_ins(_outcome)
