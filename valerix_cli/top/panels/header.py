"""The top line: platform, state and time."""

from rich.text import Text

from valerix_cli.top.model import Snapshot
from valerix_cli.units import format_duration
from valerix_cli.views.tables import coloured


def draw(snapshot: Snapshot | None, name: str, *, paused: bool) -> Text:
    if snapshot is None:
        return Text(f"valerix top  {name}  asking …")
    services = snapshot.services.value
    state = services.state if services and not snapshot.services.fault else "unreachable"
    long = f" for {format_duration(services.seconds)}" if services and services.seconds is not None else ""
    return Text.assemble(
        f"valerix top  {name}  ",
        coloured(f"{state}{long}", "confirmed" if state == "running" else "dead"),
        "" if state != "stopped" else ", waiting for it",
        f"  {snapshot.at.astimezone():%H:%M:%S}",
        coloured("  PAUSED: p resumes" if paused else "", "queued"),
        no_wrap=True,
        overflow="ellipsis",
    )
