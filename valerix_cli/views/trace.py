"""The view of an order's life: one line per step."""

from rich.console import Group, RenderableType
from rich.text import Text

from valerix_cli.output_models import Trace
from valerix_cli.views.tables import coloured, fine_clock, table


def trace_view(trace: Trace) -> RenderableType:
    order = trace.order
    heading = Text.assemble(f"{order.order_id}  {order.quantity} x {order.item_id}  ", coloured(order.status))
    steps = table(
        "time",
        "after",
        "where",
        "what",
        rows=[[fine_clock(step.at), f"+{step.after_seconds:.3f} s", step.where, step.what] for step in trace.steps],
        right=("after",),
        wrap=("what",),
    )
    parts: list[RenderableType] = [heading, Text(""), steps]
    if trace.trace_id:
        parts += [Text(""), Text(f"trace {trace.trace_id}", style="dim")]
    if not trace.ledger_read:
        parts += [Text(""), Text("The ledger was not read: that needs an operator's token.", style="dim")]
    return Group(*parts)
