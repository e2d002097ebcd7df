"""A frame of the demo, with parameters for the parts that a test changes."""

from typing import Any

from valerix_cli.demo.live_metrics import LiveMetrics
from valerix_cli.demo.model import Fact, StepResult
from valerix_cli.demo.player import Frame
from valerix_cli.demo.script import STORY

ORDER = "22050194-6606-5f51-a9f8-de997a148bbe"
FACTS = {
    "crash": [
        ("order", f"{ORDER}, pending"),
        ("killed", "order-1, pid 11352, by SIGKILL, while it held that order"),
        ("customer", "cut off once, 409 in flight 10 times, unreachable 2 times, 201 once"),
        ("+0.00 s", "order-1: pending"),
        ("+0.02 s", "inventory: 1 taken (ledger line 554)"),
        ("+10.36 s", "worker-1: claimed it (lease-ended)"),
        ("+10.43 s", "worker-1: confirmed; inventory had done it before"),
        ("in the end", "1 order, 1 deduction; order-1 is back"),
    ],
    "forged": [
        ("forged", "ledger line 1180: 1 x monitor, for an order without a client"),
        ("that order", ORDER),
        ("audit", "VIOLATED: exit 11"),
        ("broken", "deducted-means-ordered, by 1 of 1,167 deductions"),
        ("because", "1 x monitor were deducted, and no order that has not failed has this id"),
        ("undone", "that line deleted, that one given back"),
        ("audit", "clean: exit 0, in 120 ms"),
    ],
}
"""Facts of the steps that have the most."""

METRICS = LiveMetrics(
    throughput=19.8,
    p50=0.017,
    p95=3.0,
    breakers={"order-1": "open", "order-2": "half-open", "worker-1": "closed"},
    backlog=1288,
    gremlin="latency 5.0 s on 100 %",
    left=113.0,
)


def frame(name: str = "crash", **changes: Any) -> Frame:
    """Return a frame of the step with this name, finished and passed."""
    number = [step.name for step in STORY].index(name)
    step = STORY[number]
    facts = [Fact(*fact) for fact in FACTS.get(name, [])]
    given: dict[str, Any] = {
        "number": number + 1,
        "count": len(STORY),
        "step": step,
        "result": StepResult(name, step.title, "held", 10.5, None, facts, list(step.by_hand)),
        "under_way": False,
        "waiting_for": None,
        "seconds": 10.5,
        "outcomes": tuple((one.title, "held") for one in STORY),
        "metrics": METRICS,
        "history": (METRICS,) * 100,
        "notes": False,
        "hint": None,
    }
    return Frame(**(given | changes))
