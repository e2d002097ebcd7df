"""Helpers of several steps: waiting for calm, for an order's end, and showing its history."""

from collections.abc import Callable
from uuid import UUID

from valerix_cli.clients.wire import Order
from valerix_cli.demo.step_context import ExpectationMissed, StepContext
from valerix_cli.order_trace import build_trace
from valerix_cli.output_models import Step
from valerix_cli.units import format_duration


def wait_until_calm(step: StepContext) -> None:
    """Wait until no gremlin is active and every breaker is closed, so that a step shows its own effects only."""
    step.raise_if_cancelled()
    if step.environment.session.inventory.chaos().live is not None:
        step.environment.session.inventory.deactivate()
    if not breakers_closed(step):
        step.wait_for(lambda: breakers_closed(step), "the breakers to close first", lambda: describe_breakers(step))


def breakers_closed(step: StepContext) -> bool:
    """Return whether orders are sent to inventory. A worker's half-open breaker counts: it waits for the next call."""
    sample = step.environment.watcher.last
    if sample is None or not sample.breakers:
        return False
    return not sample.held_back and all(state == "closed" for state in sample.breakers.values())


def breakers_open(step: StepContext) -> bool:
    """Return True if every order service sends at most an occasional trial."""
    sample = step.environment.watcher.last
    states = sample.breakers if sample else None
    return bool(states) and all(state != "closed" for state in (states or {}).values())


def describe_breakers(step: StepContext) -> str:
    states = step.environment.metrics.breakers
    return ", ".join(f"{replica} {state}" for replica, state in states.items()) or "no breaker is known"


def wait_for_confirmation(step: StepContext, key: str) -> Order:
    """Return the order of this key once it is confirmed. Raises ExpectationMissed if it ends otherwise."""
    last: list[Order] = []

    def look() -> Order | None:
        order = step.environment.orders.by_key(key)
        if order is None:
            return None
        last[:] = [order]
        if order.status in {"failed", "dead"}:
            raise ExpectationMissed(f"order {order.order_id} is {order.status}: {order.reason}")
        return order if order.status == "confirmed" else None

    return step.wait_for(look, "the order to be confirmed", lambda: last[0].status if last else "no order has this key")


def check_single_deduction(step: StepContext, order: Order) -> int:
    """Return the ledger line that took the order's stock. Raises ExpectationMissed unless there is exactly one."""
    lines = [line.id for line in step.environment.session.inventory.ledger(order.order_id).transactions]
    if len(lines) != 1:
        raise ExpectationMissed(f"order {order.order_id} was deducted {len(lines)} times: ledger lines {lines}")
    return lines[0]


def trace_steps(step: StepContext, order_id: UUID) -> list[Step]:
    """Return the records of both services about an order."""
    orders, inventory = step.environment.orders, step.environment.session.inventory
    return build_trace(orders.order(order_id), orders.events(order_id).events, inventory.ledger(order_id)).steps


def add_trace_facts(step: StepContext, steps: list[Step]) -> None:
    """Add a short fact per step, named by the seconds since the order was stored."""
    for entry in steps:
        at = (entry.at - steps[0].at).total_seconds()
        step.add_fact(f"+{at:.2f} s", summarize(entry))


def summarize(step: Step) -> str:
    """Return `worker-1: confirmed`."""
    facts = step.detail
    if step.where == "inventory":
        return (
            f"inventory: {abs(facts['quantity_change'])} taken (ledger line {facts['ledger_line']})"
            if facts
            else "inventory: refused"
        )
    who, cause = facts.get("by", "order"), facts.get("cause")
    if "lease_seconds" in facts and cause:
        return f"{who}: claimed it ({cause})"
    cause = describe_cause(cause) if cause else ""
    again = "; inventory had done it before" if facts.get("repeated") else ""
    return f"{who}: {facts['to']}" + (f" ({cause})" if cause else "") + again


def describe_cause(cause: str) -> str:
    """Return a cause in words, including the HTTP status of an inventory response."""
    return f"inventory said {cause}" if cause.isdecimal() else cause


def stopwatch(step: StepContext) -> Callable[[], str]:
    """Return a function that formats the time since this call."""
    began = step.environment.clock()
    return lambda: format_duration(step.environment.clock() - began)
