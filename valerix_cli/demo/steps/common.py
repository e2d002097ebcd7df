"""Parts shared by several steps: calm down first, follow an order to its end, print its history."""

from collections.abc import Callable
from uuid import UUID

from valerix_cli.clients.wire import Order
from valerix_cli.demo.step_context import Missed, StepContext
from valerix_cli.order_trace import build_trace
from valerix_cli.output_models import Step
from valerix_cli.units import format_duration


def have_calm(play: StepContext) -> None:
    """Check that no gremlin is active and every breaker is closed, so that a step shows its own effects only."""
    play.go_on()
    if play.scene.session.inventory.chaos().live is not None:
        play.scene.session.inventory.deactivate()
    if not are_closed(play):
        play.until(lambda: are_closed(play), "the breakers to close first", lambda: say_breakers(play))


def are_closed(play: StepContext) -> bool:
    """Return whether orders are sent to inventory again: a worker's breaker is only waiting when it is half-open."""
    seen = play.scene.watcher.last
    if seen is None or not seen.breakers:
        return False
    return not seen.held_back and all(state == "closed" for state in seen.breakers.values())


def are_open(play: StepContext) -> bool:
    """Return whether no order service sends more than a trial now and then."""
    seen = play.scene.watcher.last
    states = seen.breakers if seen else None
    return bool(states) and all(state != "closed" for state in (states or {}).values())


def say_breakers(play: StepContext) -> str:
    states = play.scene.pulse.breakers
    return ", ".join(f"{replica} {state}" for replica, state in states.items()) or "no breaker is known"


def confirmed(play: StepContext, key: str) -> Order:
    """The order of this key once it is confirmed. Raises Missed when it is not, or ends otherwise."""
    last: list[Order] = []

    def look() -> Order | None:
        order = play.scene.orders.by_key(key)
        if order is None:
            return None
        last[:] = [order]
        if order.status in {"failed", "dead"}:
            raise Missed(f"order {order.order_id} is {order.status}: {order.reason}")
        return order if order.status == "confirmed" else None

    return play.until(look, "the order to be confirmed", lambda: last[0].status if last else "no order has this key")


def deducted_once(play: StepContext, order: Order) -> int:
    """The ledger line that took the order's stock. Raises Missed unless there is exactly one."""
    lines = [line.id for line in play.scene.session.inventory.ledger(order.order_id).transactions]
    if len(lines) != 1:
        raise Missed(f"order {order.order_id} was deducted {len(lines)} times: ledger lines {lines}")
    return lines[0]


def life(play: StepContext, order_id: UUID) -> list[Step]:
    """The records of both services about an order."""
    orders, inventory = play.scene.orders, play.scene.session.inventory
    return build_trace(orders.order(order_id), orders.events(order_id).events, inventory.ledger(order_id)).steps


def see_life(play: StepContext, steps: list[Step]) -> None:
    """Tell it in a few words a line, by the seconds since the order was stored."""
    for step in steps:
        at = (step.at - steps[0].at).total_seconds()
        play.see(f"+{at:.2f} s", in_short(step))


def in_short(step: Step) -> str:
    """`worker-1: confirmed`."""
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
    cause = said(cause) if cause else ""
    again = "; inventory had done it before" if facts.get("repeated") else ""
    return f"{who}: {facts['to']}" + (f" ({cause})" if cause else "") + again


def said(cause: str) -> str:
    """A cause in words also where it is a status that inventory answered with."""
    return f"inventory said {cause}" if cause.isdecimal() else cause


def lasting(play: StepContext) -> Callable[[], str]:
    """Return a function that formats the time since this call."""
    began = play.scene.clock()
    return lambda: format_duration(play.scene.clock() - began)
