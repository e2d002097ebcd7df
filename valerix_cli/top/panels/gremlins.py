"""The active faults, their time left, and their hits."""

from rich.console import Group, RenderableType
from rich.text import Text

from valerix_cli.clients.chaos_text import gremlins
from valerix_cli.clients.wire import Activation, Chaos, Count
from valerix_cli.top.panels.size import Room
from valerix_cli.units import format_duration
from valerix_cli.views.tables import coloured


def draw(chaos: Chaos, _: Room) -> RenderableType:
    drill = [_short(f"Drill {chaos.drill.drill} runs, by {chaos.drill.by}.")] if chaos.drill else []
    if chaos.live is None:
        return Group(*drill, Text("Halted: no gremlin can be turned on." if chaos.halted else "No gremlin is live."))
    left = f"live for {format_duration(chaos.live.remaining_seconds)} more, seed {chaos.live.seed}"
    return Group(
        *drill, coloured(left, "queued"), *(_line(chaos.live, name, what) for name, what in gremlins(chaos.live))
    )


def _line(live: Activation, name: str, what: str) -> Text:
    count = live.counts.get(name.replace("-", "_"), live.counts.get(name, Count()))
    return _short(f"{name} {what}: {count.hits:,} of {count.rolls:,} hit")


def _short(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")
