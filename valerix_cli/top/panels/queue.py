"""The orders that wait for the worker."""

from rich.console import RenderableType
from rich.text import Text

from valerix_cli.clients.wire import Queue
from valerix_cli.top.panels.size import Room
from valerix_cli.units import format_duration
from valerix_cli.views.tables import coloured


def draw(queue: Queue, _: Room) -> RenderableType:
    oldest = queue.oldest_age_seconds
    waits = "" if oldest is None else f", oldest {format_duration(oldest)}"
    return Text.assemble(
        coloured(f"{queue.depth:,} queued{waits}", "queued" if queue.depth else ""),
        f" of {queue.cap:,} at most, " if oldest is None else ", ",
        coloured(f"{queue.dead:,} dead", "dead" if queue.dead else ""),
        no_wrap=True,
        overflow="ellipsis",
    )
