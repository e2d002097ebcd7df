"""What the dashboard tells Prometheus of the audits that it ran."""

from prometheus_client import Gauge

AUDIT_BROKEN = Gauge("audit_broken_invariants", "Invariants that the latest audit saw broken")
AUDIT_FINISHED = Gauge("audit_finished_timestamp_seconds", "When the latest audit ended, 0 before the first")
