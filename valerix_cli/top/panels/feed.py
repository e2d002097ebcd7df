"""The new and changed orders, newest first."""

from datetime import datetime

from rich.console import RenderableType
from rich.text import Text

from valerix_cli.top.feed import Feed, FeedLine
from valerix_cli.top.panels.size import Room
from valerix_cli.views.tables import coloured

_LINES = 60
_STATUS = {False: len("→ confirmed"), True: len("confirmed, replayed")}


def draw(feed: Feed, lines: list[FeedLine], room: Room) -> RenderableType:
    if not lines:
        return Text("No orders yet: o places one.")
    skipped = [Text("More came than can be read; not all are here.", style="dim")] if feed.skipped else []
    return Text("\n").join([*skipped, *(_line(one, room) for one in lines[:_LINES])])


def _line(one: FeedLine, room: Room) -> Text:
    """Draw time, transition and item; with enough room also the reason and the key."""
    line = Text.assemble(
        (f"{_time(one.at)} ", "dim"),
        "» " if one.ours else "  ",
        coloured(f"{_became(one, room):<{_STATUS[room.wide]}}", one.status),
        f" {one.quantity} x {one.item_id}",
    )
    if room.wide:
        line.append(f"  {one.reason}" if one.reason else "")
        line.append(f"  {one.key}", style="dim")
    line.truncate(room.width, overflow="ellipsis")
    return line


def _became(one: FeedLine, room: Room) -> str:
    """Return `queued → confirmed`, or the part of it that fits."""
    if one.replayed:
        return f"{one.status}, replayed" if room.wide else "replayed"
    before = (f"{one.before} → " if room.wide else "→ ") if one.before else ""
    return f"{before}{one.status}"


def _time(at: datetime) -> str:
    return at.astimezone().strftime("%H:%M:%S")
