"""The messages of `valerix top`."""

from valerix_cli.clients.chaos_request import Gremlin
from valerix_cli.clients.order_models import OrderResponse
from valerix_cli.contexts.model import Context

HELP = """\
o  place an order               s  save the screen as SVG, here
a  send the last order again    p  pause, go on
g  turn a gremlin on or off     v  orders, stock or audit
x  turn all gremlins off           (where the screen is low)
u  audit both databases         q  quit (Ctrl-C: exit 130)
Tab, arrows: move between panels, scroll

Rates count what all order replicas answered between two looks;
an error is an answer of 500 or more. Percentiles are of the last
10 s, from the buckets of http_request_duration_seconds, and as
fine as those. Replayed was answered from the cache; whose repeat
it was is known only of what was sent here.
Escape leaves."""

_DOES = {
    Gremlin.LATENCY: "answers come 5 s late",
    Gremlin.CRASH: "calls end in 500, 503 or nothing, before any work",
    Gremlin.PARTIAL_FAILURE: "stock is taken, then the answer is lost",
}


def where(context: Context) -> str:
    """Return the platform's name; for a remote one with its addresses."""
    if context.is_local:
        return "`local`"
    return f"`{context.name}` ({context.place})"


def ask_toggle(gremlin: Gremlin, place: str, *, live: bool) -> str:
    if live:
        return f"Turn {gremlin} off for {place}?"
    return f"Turn {gremlin} on for {place}?\n{_DOES[gremlin]}: every call to inventory, for 60 s."


def send_result(sent: OrderResponse) -> str:
    """Return the result of a send in one line."""
    what = f"{sent.request.quantity} x {sent.request.item_id}"
    if sent.order is None:
        return f"{what}: refused, {sent.problem.slug if sent.problem else sent.status}"
    return f"{what}: {sent.order.status}" + (", replayed: the stored answer, no second order" if sent.replayed else "")
