"""`valerix status`: the processes of this machine's platform and their health."""

from typing import Annotated

import typer

from valerix_cli.errors import BadUsageError, UnreachableError
from valerix_cli.output import follow, print_result
from valerix_cli.polling import poll
from valerix_cli.session import Session

_EVERY = 1.0  # seconds


def status(
    ctx: typer.Context,
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh until Ctrl-C.")] = False,
) -> None:
    """Show the processes of this machine's platform and their health; exit 3 if none runs."""
    from valerix_cli.local.stack import state_dir  # noqa: PLC0415 - --help must not pay for it
    from valerix_cli.local.status import read_status  # noqa: PLC0415 - the same
    from valerix_cli.views import platform as views  # noqa: PLC0415 - the same

    session: Session = ctx.obj
    if session.settings.cluster is not None:
        raise BadUsageError(
            "`valerix status` is about this machine.",
            f"the context in force is the cluster {session.settings.cluster}",
            "valerix cluster status",
        )
    directory = state_dir()
    if watch:
        follow(
            poll(lambda: read_status(directory), session.output, every=_EVERY),
            screen=views.status_view,
            changes=views.status_changes,
            line=views.change_line,
            output=session.output,
        )
        return
    found = read_status(directory)
    print_result(found, views.status_view, session.output)
    if found.state == "stopped":
        raise UnreachableError(
            "No platform runs here.", f"no process holds the lock in {directory}", "valerix up, or valerix up --detach"
        )
