"""The gremlin steps: a slow one, its effects, its end, and the unknown outcome."""

from valerix_cli.clients.chaos_text import summary
from valerix_cli.clients.order_models import OrderResponse
from valerix_cli.clients.wire import Activation
from valerix_cli.demo.step_context import Missed, StepContext
from valerix_cli.demo.steps.common import (
    are_closed,
    are_open,
    confirmed,
    deducted_once,
    have_calm,
    lasting,
    life,
    said,
    say_breakers,
    see_life,
)
from valerix_cli.units import format_duration, percent

_SLOW = 1.0  # seconds of p95 that are clearly not normal
_FAST = 0.5  # seconds that an answer takes at most when nothing is waited for
_LATE = 5000  # milliseconds: later than the order service waits
_LIVES = 120  # lifetime of the slow gremlin in seconds, if it is not turned off
_LOSES = 0.25  # of all answers: less than opens a breaker
_LOSES_FOR = 30  # seconds


def slow(play: StepContext) -> None:
    have_calm(play)
    before = play.scene.pulse.p95
    _slow_down(play)
    p95 = play.until(lambda: _p95_above(play, _SLOW), f"p95 above {format_duration(_SLOW)}", lambda: _p95(play))
    play.see("p95", f"{format_duration(before or 0)} before, {format_duration(p95)} now")
    _see_open(play)


def fast_failure(play: StepContext) -> None:
    scene = play.scene
    if scene.session.inventory.chaos().live is None or not are_open(play):
        _slow_down(play)
        _see_open(play)
    sent = play.until(lambda: _queued_at_once(play), f"an order answered within {format_duration(_FAST)}")
    assert sent.order is not None  # noqa: S101 - it is queued # nosec B101
    play.see("one order", f"{sent.status} {sent.order.status} in {sent.milliseconds:.0f} ms ({sent.order.reason})")
    play.see("its id", str(sent.order.order_id))
    play.until(lambda: not _p95_above(play, _FAST), f"p95 below {format_duration(_FAST)} again", lambda: _p95(play))
    play.see("p95", f"{_p95(play)}, with the gremlin still there: {_left(play)}")
    play.see("backlog", f"{scene.pulse.backlog} orders are accepted, stored and wait for an outcome")


def recovery(play: StepContext) -> None:
    scene, since = play.scene, lasting(play)
    waiting = scene.pulse.backlog or 0
    play.go_on()
    ended = scene.session.inventory.deactivate()
    play.see("gremlin", f"off; {_hits(ended)}" if ended else "off")
    play.until(lambda: are_closed(play), "every breaker to close by itself", lambda: say_breakers(play))
    play.see("breakers", f"closed after {since()}, each by a trial that went well")
    play.until(lambda: _is_empty(play), "the backlog to be empty", lambda: f"{scene.pulse.backlog} are queued")
    play.see("backlog", f"{waiting} orders before, 0 after {since()}")
    if key := scene.keys.get("waiting"):
        order = confirmed(play, key)
        play.know(ID=str(order.order_id))
        play.see("that order", str(order.order_id))
        play.see("is now", f"confirmed, deducted once (ledger line {deducted_once(play, order)})")


def schrodinger(play: StepContext) -> None:
    have_calm(play)
    scene = play.scene
    play.go_on()
    scene.activate(_LOSES_FOR, partial_failure_rate=_LOSES)
    play.see("gremlin", f"commits, then loses the answer, {percent(_LOSES)} of the time")
    sent = play.until(lambda: _lost(play), "an answer to get lost", lambda: say_breakers(play))
    scene.session.inventory.deactivate()
    order = sent.order
    assert order is not None  # noqa: S101 - it is queued # nosec B101
    play.know(KEY=sent.request.key, ID=str(order.order_id))
    play.see("told", f"{sent.status} {order.status}: {said(order.reason or 'no reason')}. Taken or not?")
    play.see("in the box", f"ledger line {deducted_once(play, order)}: it had been taken already")
    again = play.until(lambda: _sent_again(play, sent), "the retry to say what became of it")
    if again.order is None or again.order.order_id != order.order_id:
        raise Missed("the same key stood for another order")
    play.see("the retry", f"same key, same order: {again.status} {again.order.status}")
    see_life(play, life(play, order.order_id))
    deducted_once(play, order)


def _slow_down(play: StepContext) -> None:
    play.go_on()
    live = play.scene.activate(_LIVES, latency=True, latency_ms=_LATE, latency_rate=1.0)
    play.see("gremlin", f"{summary(live)}; ends by itself in {format_duration(live.ttl_seconds)}")


def _see_open(play: StepContext) -> None:
    play.until(lambda: are_open(play), "every order service's breaker to open", lambda: say_breakers(play))
    moved = sorted(play.scene.watcher.transitions.items(), key=lambda one: one[0][1])
    reasons = {replica: why for (replica, _), (to, why) in moved if to == "open"}
    seen = play.scene.watcher.last
    for replica in (seen.breakers or {}) if seen else {}:
        play.see(replica, f"open: {reasons.get(replica, 'no reason is known')}")


def _queued_at_once(play: StepContext) -> OrderResponse | None:
    """One order that was not sent to inventory; not one that was the breaker's trial, which takes its time."""
    request = play.scene.new_order("waiting")
    sent = play.scene.orders.place(request)
    is_queued = sent.order is not None and sent.order.status == "queued"
    return sent if is_queued and sent.milliseconds < _FAST * 1000 else None


def _lost(play: StepContext) -> OrderResponse | None:
    """One order whose stock was taken, and whose answer was lost."""
    sent = play.scene.orders.place(play.scene.new_order("boxed"))
    if sent.order is None or sent.order.status != "queued":
        return None
    known = [(step.where, step.detail.get("to")) for step in life(play, sent.order.order_id)]
    before = known[: known.index(("order", "queued"))]
    return sent if ("inventory", None) in before else None


def _sent_again(play: StepContext, first: OrderResponse) -> OrderResponse | None:
    sent = play.scene.orders.place(first.request)
    return sent if sent.order is not None and sent.order.status == "confirmed" else None


def _p95_above(play: StepContext, seconds: float) -> float | None:
    p95 = play.scene.pulse.p95
    return p95 if p95 is not None and p95 > seconds else None


def _p95(play: StepContext) -> str:
    p95 = play.scene.pulse.p95
    return "not known" if p95 is None else format_duration(p95)


def _is_empty(play: StepContext) -> bool:
    return play.scene.pulse.backlog == 0


def _left(play: StepContext) -> str:
    left = play.scene.pulse.left
    return "its time is up" if left is None else f"{format_duration(left)} left"


def _hits(ended: Activation) -> str:
    hits = sum(count.hits for count in ended.counts.values())
    return f"it hit {hits} of {sum(count.rolls for count in ended.counts.values())} attempts"
