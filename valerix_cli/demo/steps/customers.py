"""The customers: calm, impatient, and one who cheats."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from valerix_cli.clients.order_models import OrderRequest, OrderResponse
from valerix_cli.demo.environment import RATE
from valerix_cli.demo.live_metrics import LiveMetrics
from valerix_cli.demo.step_context import Missed, StepContext
from valerix_cli.demo.steps.common import are_closed, confirmed, deducted_once, have_calm, say_breakers
from valerix_cli.units import format_duration

_FAST = 0.5  # seconds: what p95 has to be below, on a slow machine too
_FULL = 0.9  # of the rate at which orders are sent
_SENDS = 5


def calm(play: StepContext) -> None:
    have_calm(play)

    def at_ease() -> LiveMetrics | None:
        now = play.scene.pulse
        full = now.throughput is not None and now.throughput >= RATE * _FULL
        return now if full and (now.p95 or _FAST) < _FAST and are_closed(play) else None

    def instead() -> str:
        now = play.scene.pulse
        return f"{now.throughput or 0:.1f} a second, p95 {_say(now.p95)}, {say_breakers(play)}"

    seen = play.until(at_ease, f"{RATE:g} orders a second, nearly all within {format_duration(_FAST)}", instead)
    play.see("orders", f"{seen.throughput:.1f} a second, of {play.scene.item}")
    play.see("latency", f"half within {_say(seen.p50)}, 95 of 100 within {_say(seen.p95)}")
    play.see("breakers", say_breakers(play))


def impatient(play: StepContext) -> None:
    have_calm(play)
    request = play.scene.new_order("impatient")
    play.see("key", request.key)
    play.know(KEY=request.key)
    with ThreadPoolExecutor(_SENDS) as pool:
        sends = list(pool.map(play.scene.orders.place, [request] * _SENDS))
    play.see(f"{_SENDS} sends", answers(sends))
    order = confirmed(play, request.key)
    ids = {str(one.order.order_id) for one in sends if one.order} | {str(order.order_id)}
    if len(ids) > 1:
        raise Missed(f"the key stands for {len(ids)} orders: {', '.join(sorted(ids))}")
    play.see("1 order", f"{order.order_id}, {order.status}")
    play.see("1 deduction", f"ledger line {deducted_once(play, order)}")


def cheater(play: StepContext) -> None:
    have_calm(play)
    scene = play.scene
    key = scene.keys.get("impatient") or scene.new_order("impatient").key
    scene.orders.place(OrderRequest(scene.item, 1, key), retries=_SENDS)  # what stands already, or stands from now on
    before = confirmed(play, key)
    play.know(KEY=key)
    play.see("key", key)
    play.see("it stands for", f"{before.quantity} x {before.item_id}")
    other = OrderRequest(scene.other_item, 3, key)
    sent = scene.orders.place(other)
    slug = sent.problem.slug if sent.problem else "accepted"
    play.see("other cart", f"{other.quantity} x {other.item_id}: {sent.status} {slug}")
    if slug != "idempotency-key-reused":
        raise Missed(f"the other cart has to be refused; the response was {sent.status} {slug}")
    after = confirmed(play, key)
    if after != before:
        raise Missed(f"order {before.order_id} has changed")
    play.see("the order", f"stands as it was; deducted once (ledger line {deducted_once(play, after)})")


def answers(sends: list[OrderResponse]) -> str:
    """`201 confirmed, 409 request-in-flight 4 times`."""
    said = Counter(_answer(one) for one in sends)
    return ", ".join(word if count == 1 else f"{word} {count} times" for word, count in said.items())


def _answer(sent: OrderResponse) -> str:
    word = sent.order.status if sent.order else sent.problem.slug if sent.problem else ""
    return f"{sent.status} {word}" + (" (stored answer)" if sent.replayed else "")


def _say(seconds: float | None) -> str:
    return "not known" if seconds is None else format_duration(seconds)
