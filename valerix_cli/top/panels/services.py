"""What runs and how it is."""

from rich.console import RenderableType
from rich.text import Text

from valerix_cli.durations import say_duration
from valerix_cli.top.model import Process, Services
from valerix_cli.top.panels.room import Room
from valerix_cli.views.tables import coloured, table

_LIKE = {"ok": "confirmed", "running": "confirmed", "down": "dead", "unreachable": "dead", "backing-off": "dead"}
"""The status whose colour a state or a health has; the rest that is not well looks like something that waits."""


def draw(services: Services, room: Room) -> RenderableType:
    """Where there is no room for the state, it stands in the place of the health of what does not run."""
    if not services.processes:
        return Text("No platform runs here. Waiting for one: valerix up")
    known = any(one.restarts is not None for one in services.processes)
    columns = ("service", "state", "health", "for", "restarts") if known else ("address", "health")
    return table(
        *columns,
        rows=[_row(one)[: len(columns)] if known else [one.name, _how(one)] for one in services.processes],
        right=("for", "restarts"),
        spare=() if room.wide else ("for", "state"),
    )


def _row(one: Process) -> list[RenderableType]:
    return [
        one.name,
        one.state or "",
        _how(one),
        "" if one.seconds is None else say_duration(one.seconds),
        _restarts(one),
    ]


def _how(one: Process) -> Text:
    running = one.state in {None, "running"}
    word = one.health or "" if running else one.state or ""
    return coloured(word, _LIKE.get(word.split(" ")[0], "queued" if word else ""))


def _restarts(one: Process) -> str:
    if one.restarts is None:
        return ""
    return f"{one.restarts} (exit {one.last_exit})" if one.restarts else "0"
