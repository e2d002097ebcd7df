"""The gremlin steps: a slow one, its effects, its end, and the unknown outcome."""

from valerix_cli.clients.chaos_text import summary
from valerix_cli.clients.order_models import OrderResponse
from valerix_cli.clients.wire import Activation
from valerix_cli.demo.step_context import ExpectationMissed, StepContext
from valerix_cli.demo.steps.common import (
    add_trace_facts,
    breakers_closed,
    breakers_open,
    check_single_deduction,
    describe_breakers,
    describe_cause,
    stopwatch,
    trace_steps,
    wait_for_confirmation,
    wait_until_calm,
)
from valerix_cli.units import format_duration, percent

_SLOW = 1.0  # seconds of p95 that are clearly not normal
_FAST = 0.5  # seconds that a request takes at most without waiting
_LATE = 5000  # milliseconds: longer than the order service's timeout
_LIVES = 120  # lifetime of the slow gremlin in seconds, if it is not turned off
_LOSES = 0.25  # share of all responses: less than opens a breaker
_LOSES_FOR = 30  # seconds


def slow(step: StepContext) -> None:
    wait_until_calm(step)
    before = step.environment.metrics.p95
    _slow_down(step)
    p95 = step.wait_for(lambda: _p95_above(step, _SLOW), f"p95 above {format_duration(_SLOW)}", lambda: _p95(step))
    step.add_fact("p95", f"{format_duration(before or 0)} before, {format_duration(p95)} now")
    _see_open(step)


def fast_failure(step: StepContext) -> None:
    environment = step.environment
    if environment.session.inventory.chaos().live is None or not breakers_open(step):
        _slow_down(step)
        _see_open(step)
    sent = step.wait_for(lambda: _queued_at_once(step), f"an order answered within {format_duration(_FAST)}")
    assert sent.order is not None  # noqa: S101 - it is queued # nosec B101
    step.add_fact("one order", f"{sent.status} {sent.order.status} in {sent.milliseconds:.0f} ms ({sent.order.reason})")
    step.add_fact("its id", str(sent.order.order_id))
    step.wait_for(lambda: not _p95_above(step, _FAST), f"p95 below {format_duration(_FAST)} again", lambda: _p95(step))
    step.add_fact("p95", f"{_p95(step)}, with the gremlin still there: {_left(step)}")
    step.add_fact("backlog", f"{environment.metrics.backlog} orders are accepted, stored and wait for an outcome")


def recovery(step: StepContext) -> None:
    environment, since = step.environment, stopwatch(step)
    waiting = environment.metrics.backlog or 0
    step.raise_if_cancelled()
    ended = environment.session.inventory.deactivate()
    step.add_fact("gremlin", f"off; {_hits(ended)}" if ended else "off")
    step.wait_for(lambda: breakers_closed(step), "every breaker to close by itself", lambda: describe_breakers(step))
    step.add_fact("breakers", f"closed after {since()}, each by a trial that went well")
    step.wait_for(
        lambda: _is_empty(step), "the backlog to be empty", lambda: f"{environment.metrics.backlog} are queued"
    )
    step.add_fact("backlog", f"{waiting} orders before, 0 after {since()}")
    if key := environment.keys.get("waiting"):
        order = wait_for_confirmation(step, key)
        step.set_placeholders(ID=str(order.order_id))
        step.add_fact("that order", str(order.order_id))
        step.add_fact("is now", f"confirmed, deducted once (ledger line {check_single_deduction(step, order)})")


def schrodinger(step: StepContext) -> None:
    wait_until_calm(step)
    environment = step.environment
    step.raise_if_cancelled()
    environment.activate(_LOSES_FOR, partial_failure_rate=_LOSES)
    step.add_fact("gremlin", f"commits, then loses the answer, {percent(_LOSES)} of the time")
    sent = step.wait_for(lambda: _lost(step), "an answer to get lost", lambda: describe_breakers(step))
    environment.session.inventory.deactivate()
    order = sent.order
    assert order is not None  # noqa: S101 - it is queued # nosec B101
    step.set_placeholders(KEY=sent.request.key, ID=str(order.order_id))
    step.add_fact(
        "response", f"{sent.status} {order.status}: {describe_cause(order.reason or 'no reason')}. Taken or not?"
    )
    step.add_fact("in the box", f"ledger line {check_single_deduction(step, order)}: it had been taken already")
    again = step.wait_for(lambda: _sent_again(step, sent), "the retry to say what became of it")
    if again.order is None or again.order.order_id != order.order_id:
        raise ExpectationMissed("the same key stood for another order")
    step.add_fact("the retry", f"same key, same order: {again.status} {again.order.status}")
    add_trace_facts(step, trace_steps(step, order.order_id))
    check_single_deduction(step, order)


def _slow_down(step: StepContext) -> None:
    step.raise_if_cancelled()
    live = step.environment.activate(_LIVES, latency=True, latency_ms=_LATE, latency_rate=1.0)
    step.add_fact("gremlin", f"{summary(live)}; ends by itself in {format_duration(live.ttl_seconds)}")


def _see_open(step: StepContext) -> None:
    step.wait_for(lambda: breakers_open(step), "every order service's breaker to open", lambda: describe_breakers(step))
    moved = sorted(step.environment.watcher.transitions.items(), key=lambda one: one[0][1])
    reasons = {replica: why for (replica, _), (to, why) in moved if to == "open"}
    sample = step.environment.watcher.last
    for replica in (sample.breakers or {}) if sample else {}:
        step.add_fact(replica, f"open: {reasons.get(replica, 'no reason is known')}")


def _queued_at_once(step: StepContext) -> OrderResponse | None:
    """Place one order. Returns it if it was queued without a call to inventory; a breaker's trial call takes longer."""
    request = step.environment.new_order("waiting")
    sent = step.environment.orders.place(request)
    is_queued = sent.order is not None and sent.order.status == "queued"
    return sent if is_queued and sent.milliseconds < _FAST * 1000 else None


def _lost(step: StepContext) -> OrderResponse | None:
    """Place one order. Returns it if its stock was deducted and the response lost."""
    sent = step.environment.orders.place(step.environment.new_order("boxed"))
    if sent.order is None or sent.order.status != "queued":
        return None
    transitions = [(step.where, step.detail.get("to")) for step in trace_steps(step, sent.order.order_id)]
    before = transitions[: transitions.index(("order", "queued"))]
    return sent if ("inventory", None) in before else None


def _sent_again(step: StepContext, first: OrderResponse) -> OrderResponse | None:
    sent = step.environment.orders.place(first.request)
    return sent if sent.order is not None and sent.order.status == "confirmed" else None


def _p95_above(step: StepContext, seconds: float) -> float | None:
    p95 = step.environment.metrics.p95
    return p95 if p95 is not None and p95 > seconds else None


def _p95(step: StepContext) -> str:
    p95 = step.environment.metrics.p95
    return "not known" if p95 is None else format_duration(p95)


def _is_empty(step: StepContext) -> bool:
    return step.environment.metrics.backlog == 0


def _left(step: StepContext) -> str:
    left = step.environment.metrics.left
    return "its time is up" if left is None else f"{format_duration(left)} left"


def _hits(ended: Activation) -> str:
    hits = sum(count.hits for count in ended.counts.values())
    return f"it hit {hits} of {sum(count.rolls for count in ended.counts.values())} attempts"
