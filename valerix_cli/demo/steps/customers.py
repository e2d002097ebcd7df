"""The customers: calm, impatient, and one who cheats."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from valerix_cli.clients.order_models import OrderRequest, OrderResponse
from valerix_cli.demo.environment import RATE
from valerix_cli.demo.live_metrics import LiveMetrics
from valerix_cli.demo.step_context import ExpectationMissed, StepContext
from valerix_cli.demo.steps.common import (
    breakers_closed,
    check_single_deduction,
    describe_breakers,
    wait_for_confirmation,
    wait_until_calm,
)
from valerix_cli.units import format_duration

_FAST = 0.5  # seconds: the limit of p95, also on a slow machine
_FULL = 0.9  # share of the rate at which orders are sent
_SENDS = 5


def calm(step: StepContext) -> None:
    wait_until_calm(step)

    def metrics_when_calm() -> LiveMetrics | None:
        now = step.environment.metrics
        full = now.throughput is not None and now.throughput >= RATE * _FULL
        return now if full and (now.p95 or _FAST) < _FAST and breakers_closed(step) else None

    def instead() -> str:
        now = step.environment.metrics
        return f"{now.throughput or 0:.1f} a second, p95 {_format_seconds(now.p95)}, {describe_breakers(step)}"

    sample = step.wait_for(
        metrics_when_calm, f"{RATE:g} orders a second, nearly all within {format_duration(_FAST)}", instead
    )
    step.add_fact("orders", f"{sample.throughput:.1f} a second, of {step.environment.item}")
    step.add_fact(
        "latency", f"half within {_format_seconds(sample.p50)}, 95 of 100 within {_format_seconds(sample.p95)}"
    )
    step.add_fact("breakers", describe_breakers(step))


def impatient(step: StepContext) -> None:
    wait_until_calm(step)
    request = step.environment.new_order("impatient")
    step.add_fact("key", request.key)
    step.set_placeholders(KEY=request.key)
    with ThreadPoolExecutor(_SENDS) as pool:
        sends = list(pool.map(step.environment.orders.place, [request] * _SENDS))
    step.add_fact(f"{_SENDS} sends", answers(sends))
    order = wait_for_confirmation(step, request.key)
    ids = {str(one.order.order_id) for one in sends if one.order} | {str(order.order_id)}
    if len(ids) > 1:
        raise ExpectationMissed(f"the key stands for {len(ids)} orders: {', '.join(sorted(ids))}")
    step.add_fact("1 order", f"{order.order_id}, {order.status}")
    step.add_fact("1 deduction", f"ledger line {check_single_deduction(step, order)}")


def cheater(step: StepContext) -> None:
    wait_until_calm(step)
    environment = step.environment
    key = environment.keys.get("impatient") or environment.new_order("impatient").key
    environment.orders.place(
        OrderRequest(environment.item, 1, key), retries=_SENDS
    )  # an existing order, or else a new one
    before = wait_for_confirmation(step, key)
    step.set_placeholders(KEY=key)
    step.add_fact("key", key)
    step.add_fact("it stands for", f"{before.quantity} x {before.item_id}")
    other = OrderRequest(environment.other_item, 3, key)
    sent = environment.orders.place(other)
    slug = sent.problem.slug if sent.problem else "accepted"
    step.add_fact("other cart", f"{other.quantity} x {other.item_id}: {sent.status} {slug}")
    if slug != "idempotency-key-reused":
        raise ExpectationMissed(f"the other cart has to be refused; the response was {sent.status} {slug}")
    after = wait_for_confirmation(step, key)
    if after != before:
        raise ExpectationMissed(f"order {before.order_id} has changed")
    step.add_fact("the order", f"stands as it was; deducted once (ledger line {check_single_deduction(step, after)})")


def answers(sends: list[OrderResponse]) -> str:
    """Return `201 confirmed, 409 request-in-flight 4 times`."""
    describe_cause = Counter(_answer(one) for one in sends)
    return ", ".join(word if count == 1 else f"{word} {count} times" for word, count in describe_cause.items())


def _answer(sent: OrderResponse) -> str:
    word = sent.order.status if sent.order else sent.problem.slug if sent.problem else ""
    return f"{sent.status} {word}" + (" (stored answer)" if sent.replayed else "")


def _format_seconds(seconds: float | None) -> str:
    return "not known" if seconds is None else format_duration(seconds)
