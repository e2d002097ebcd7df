"""The processes and their health."""

from collections.abc import Callable

from rich.console import RenderableType
from rich.text import Text

from valerix_cli.top.model import Process, Services
from valerix_cli.top.panels.size import Room
from valerix_cli.units import format_duration
from valerix_cli.views.tables import coloured, table

_LIKE = {"ok": "confirmed", "running": "confirmed", "down": "dead", "unreachable": "dead", "backing-off": "dead"}
"""The status that determines the colour of a state or a health; all others use that of a waiting order."""

_Cell = Callable[[Process], RenderableType]


def draw(services: Services, room: Room) -> RenderableType:
    """Draw the processes. In a narrow panel the state takes the column of an unknown health."""
    if not services.processes:
        return Text("No platform runs here. Waiting for one: valerix up")
    supervised = any(one.restarts is not None for one in services.processes)
    cells: dict[str, _Cell] = {
        "service": lambda one: one.name,
        **({"state": lambda one: _like(one.state or "")} if room.wide and supervised else {}),
        "health": lambda one: _like(one.health or "") if room.wide and supervised else _like(_how(one)),
        **({"for": _since, "restarts": _restarts} if supervised else {}),
    }
    return table(
        *cells,
        rows=[[cell(one) for cell in cells.values()] for one in services.processes],
        right=("for", "restarts"),
        spare=("for",),
    )


def _how(one: Process) -> str:
    running = one.state in {None, "running"}
    return one.health if running and one.health else one.state or ""


def _like(word: str) -> Text:
    return coloured(word, _LIKE.get(word.partition(" ")[0], "queued" if word else ""))


def _since(one: Process) -> str:
    return "" if one.seconds is None else format_duration(one.seconds)


def _restarts(one: Process) -> str:
    if one.restarts is None:
        return ""
    return f"{one.restarts} (exit {one.last_exit})" if one.restarts else "0"
