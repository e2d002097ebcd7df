"""The history of an order, in sentences."""

from typing import Any

import pytest

from tests.unit.cli.samples import NOON, ORDER_ID, later, order
from valerix_cli.clients.wire import Ledger, LedgerLine, LedgerRefusal, OrderEvent, Status
from valerix_cli.order_trace import build_trace


def event(seconds: float, from_: Status | None, to: Status, **detail: Any) -> OrderEvent:
    return OrderEvent(at=later(seconds), to=to, from_=from_, detail={"by": "order-1", **detail})


def sentences(*events: OrderEvent) -> list[str]:
    return [step.what for step in build_trace(order(), list(events), None).steps]


def test_a_trace_merges_both_services_by_time() -> None:
    events = [event(0, None, "pending"), event(0.5, "pending", "confirmed", attempt=1)]
    ledger = Ledger(ORDER_ID, [LedgerLine(17, "ps5", -2, "deduct", later(0.2))])
    trace = build_trace(order(), events, ledger)
    assert [(step.where, step.after_seconds) for step in trace.steps] == [
        ("order", 0.0),
        ("inventory", 0.2),
        ("order", 0.3),
    ]
    assert trace.steps[1].what == "inventory took 2 x ps5 from stock (ledger line 17)"
    assert trace.ledger_read


def test_a_trace_without_the_ledger_is_marked() -> None:
    assert not build_trace(order(), [event(0, None, "pending")], None).ledger_read


def test_a_refusal_of_inventory_is_a_step() -> None:
    ledger = Ledger(ORDER_ID, [], LedgerRefusal("insufficient-stock", NOON))
    [step] = build_trace(order(), [], ledger).steps
    assert step.what == "inventory refused for good: there was not enough in stock (insufficient-stock)"


@pytest.mark.parametrize(
    ("happened", "sentence"),
    [
        (event(0, None, "pending"), "order-1 stored the order as pending, before anything was sent to inventory"),
        (
            event(0, "pending", "queued", attempt=1, cause="timeout", retry_in_seconds=1.25),
            "order-1 queued the order on attempt 1: inventory did not answer in time (timeout); next attempt in 1.2 s",
        ),
        (
            event(0, "queued", "queued", attempt=2, cause="due", lease_seconds=10.0),
            "order-1 claimed the order on attempt 2 for 10 s: it was due (due)",
        ),
        (
            event(0, "pending", "pending", attempt=2, cause="lease-ended", lease_seconds=10.0),
            ("order-1 claimed the order on attempt 2 for 10 s: the previous holder let the lease expire (lease-ended)"),
        ),
        (
            event(0, "queued", "queued", cause="breaker-open"),
            "order-1 tried and left it queued: the breaker is open, so nothing was sent (breaker-open)",
        ),
        (
            event(0, "queued", "confirmed", attempt=3, repeated=True),
            "order-1 confirmed the order on attempt 3: its 2 x ps5 are deducted; inventory had done it before",
        ),
        (
            event(0, "pending", "failed", attempt=1, cause="insufficient-stock", available=1),
            "order-1 failed the order on attempt 1: there was not enough in stock (insufficient-stock); 1 were left",
        ),
        (
            event(0, "pending", "queued", attempt=1, cause="503"),
            "order-1 queued the order on attempt 1: inventory answered 503, so the outcome is not known",
        ),
        (
            event(0, "queued", "dead", attempt=10, cause="attempts-exhausted"),
            (
                "order-1 gave the order up on attempt 10: all attempts were used up and inventory has no outcome "
                "(attempts-exhausted)"
            ),
        ),
        (
            event(0, "dead", "queued", cause="requeued"),
            "order-1 queued the dead order again: an operator asked for it (requeued)",
        ),
    ],
)
def test_every_transition_is_a_sentence(happened: OrderEvent, sentence: str) -> None:
    assert sentences(happened) == [sentence]
