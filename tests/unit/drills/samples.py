"""Receipts for tests."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from valerix_cli.drills.receipt import AffectedProcess, Check, Event, Hit, Injection, PhaseMetrics, Receipt, Second

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
HELD = Check("faults", "p95 < 3s", "held", "p95 was 20.0 ms", 0.02)


def receipt(*checks: Check, **changes: Any) -> Receipt:
    """Return the receipt of a passed drill with these checks."""
    made = Receipt(
        run="20261101-120000-slow-inventory-1a2b",
        drill="slow-inventory",
        description="A slow dependency is worse than a dead one.",
        source="slow-inventory.yaml",
        text="name: slow-inventory\n",
        seed=42,
        key_prefix="drill.slow-inventory.42.1.",
        started_at=NOON,
        seconds=61.5,
        context="local",
        versions={"valerix": "1", "python": "3.11"},
        rerun_command="valerix drill run slow-inventory --seed 42",
        outcome="passed",
        exit_code=0,
        why=[],
        checks=[*checks] or [HELD],
        injections=[
            Injection(
                kind="gremlin",
                target="latency",
                description="latency of 5.0 s on 100 % for 20 s",
                began=8.0,
                ended=28.0,
                activations=["a1"],
                rolls=200,
                hits=180,
            ),
            Injection(
                kind="kill",
                target="inventory",
                description="kill -9 of inventory",
                began=9.0,
                ended=10.5,
                hits=1,
                affected=[AffectedProcess("inventory-1", 77, 1.5)],
            ),
        ],
        hits=[Hit("5b0c", 1, "latency"), Hit("77aa", 2, "latency")],
        hits_complete=True,
        opened_after=6.1,
        recovered_after=9.9,
        orders=1750,
        requests=1760,
        outcomes={"confirmed": 1200, "queued": 550},
        answers={"201 confirmed": 1200, "202 queued": 550, "timeout": 10},
        figures=[PhaseMetrics(phase="faults", seconds=27.0, measured={"p50": 0.01, "p95": 3.0, "throughput": 50.0})],
        events=[Event(8.0, "latency of 5.0 s on 100 % for 20 s")],
        timeline=[
            Second(0, {"confirmed": 50}, 0.01, 0.02, "closed", 0),
            Second(1, {"queued": 40, "insufficient-stock": 5, "timeout": 5}, 3.0, 3.1, "open", 40),
            Second(2, {}, None, None, None, None),
        ],
        audit=None,
        journal="journal.jsonl",
    )
    return msgspec.structs.replace(made, **changes)
