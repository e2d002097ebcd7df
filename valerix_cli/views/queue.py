"""Views of the queue."""

from rich.console import RenderableType
from rich.text import Text

from valerix_cli.clients.wire import Queue, Requeued
from valerix_cli.units import format_duration
from valerix_cli.views.tables import facts


def queue_view(queue: Queue) -> RenderableType:
    oldest = queue.oldest_age_seconds
    return facts(
        [
            ("queued", f"{queue.depth} of at most {queue.cap}"),
            ("oldest", "none waits" if oldest is None else format_duration(max(0.0, oldest))),
            ("dead", Text(str(queue.dead), style="bold red" if queue.dead else "")),
            *([("misdated", Text(str(queue.misdated), style="bold red"))] if queue.misdated else []),
        ]
    )


def requeued_view(requeued: Requeued) -> RenderableType:
    if not requeued.requeued:
        return Text("No order was dead or misdated.")
    return Text("\n".join(f"{order_id} is queued again" for order_id in requeued.requeued))
