"""The panels, and the part of the snapshot that each shows."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from rich.console import RenderableType

from valerix_cli.clients.wire import Breaker
from valerix_cli.top.feed import Feed, with_ours
from valerix_cli.top.model import Reading, Snapshot
from valerix_cli.top.panels import audit, breakers, feed, gremlins, queue, services, stock, traffic
from valerix_cli.top.panels.size import Room
from valerix_cli.top.rates import WINDOW
from valerix_cli.top.timeline import MARKS
from valerix_cli.top.widgets import Panel

CHOICES = ("feed", "stock", "audit")
"""The panels that take turns on a low screen."""

_LEGEND = " ".join(f"{mark} {state}" for state, mark in MARKS.items() if state)


def left() -> list[Panel]:
    return [
        _panel("services", "Services", services.draw),
        _panel("traffic", f"Orders answered, last {WINDOW} s", traffic.draw, "counting …", legend="│ limit"),
        _panel("chaos", "Gremlins", gremlins.draw),
        _panel("queue", "Queue", queue.draw),
        *_beside(),
    ]


def right() -> list[Panel]:
    return [
        Panel("breaker", "Breakers", lambda shown: shown.breaker, _breakers, legend=_LEGEND),
        Panel("feed", "Orders", lambda shown: shown.feed, _feed, legend="» sent here"),
        *_beside(),
    ]


def _beside() -> list[Panel]:
    """Return the panels that take turns with the feed on a low screen; on a tall one they are on the left."""
    return [
        _panel("stock", "Stock, lowest first", stock.draw),
        _panel("audit", "Audit", audit.draw, "Not audited yet: u does it."),
    ]


def _panel(
    name: str, title: str, draw: Callable[[Any, Room], RenderableType], nothing: str = "asking …", *, legend: str = ""
) -> Panel:
    def part(shown: Snapshot) -> Reading[Any]:
        found: Reading[Any] = getattr(shown, name)
        return found

    return Panel(name, title, part, lambda shown, room: draw(part(shown).value, room), nothing, legend=legend)


def _breakers(shown: Snapshot, room: Room) -> RenderableType:
    found, age = shown.breaker.value or Breaker([], []), timedelta(seconds=shown.breaker.age)
    return breakers.draw(found, shown.at - age, room)


def _feed(shown: Snapshot, room: Room) -> RenderableType:
    found = shown.feed.value or Feed()
    return feed.draw(found, with_ours(found.lines, shown.sends), room)
