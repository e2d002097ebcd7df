"""What the dashboard tells Prometheus of the audits that it ran, and of who signed in."""

import functools

from prometheus_client import Counter, Gauge

AUDIT_BROKEN = Gauge("audit_broken_invariants", "Invariants that the latest audit saw broken")
AUDIT_FINISHED = Gauge("audit_finished_timestamp_seconds", "When the latest audit ended, 0 before the first")
sign_ins = functools.cache(
    Counter("dashboard_sign_ins_total", "Attempts to sign in, by what came of them", ["outcome"]).labels
)
"""The counter of an outcome: `opened`, `refused`, `limited`."""
for _outcome in ("opened", "refused", "limited"):  # there from the start, so that the first one is an increase
    sign_ins(_outcome)
