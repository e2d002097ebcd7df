"""`valerix top`: a live view of the whole platform."""

import sys
from functools import partial

import typer

from valerix_cli.errors import BadUsageError, UnreachableError
from valerix_cli.output import is_terminal
from valerix_cli.session import Session


def top(ctx: typer.Context) -> None:
    """Watch services, latency, breakers, gremlins, stock, the queue and orders; place orders and inject faults by key.

    Needs a terminal of 80 by 24 or more. `?` shows the keys; `q` quits.
    """
    session: Session = ctx.obj
    _need_a_terminal()
    _need_a_platform(session)
    from valerix_cli.contexts.find import find_context  # noqa: PLC0415 - --help must not pay for it
    from valerix_cli.top.actions import PlatformActions  # noqa: PLC0415 - the same
    from valerix_cli.top.app import TopApp  # noqa: PLC0415 - the same
    from valerix_cli.top.collector import Collector  # noqa: PLC0415 - the same

    find = partial(find_context, session.settings)
    collector = Collector(find)
    actions = PlatformActions(find, session.settings.setting("timeout").value)
    app = TopApp(collector.collect, actions, session.context)
    app.run()
    collector.close()
    raise typer.Exit(app.return_code or 0)


def _need_a_terminal() -> None:
    streams = {"stdin": sys.stdin, "stdout": sys.stdout, "stderr": sys.stderr}  # the screen is drawn on stderr
    missing = [name for name, stream in streams.items() if not stream.isatty()]
    if missing or not is_terminal(sys.stdout):
        why = f"{missing[0]} is not a terminal" if missing else "TERM is dumb"
        raise BadUsageError("top needs a terminal.", why, "valerix status --watch")


def _need_a_platform(session: Session) -> None:
    """Raise UnreachableError if no platform runs. One that stops later is waited for."""
    if not session.context.is_local:
        session.replicas("order").send("GET", "/health/live")
        return
    from valerix_cli.local.instance import running  # noqa: PLC0415 - --help must not pay for it
    from valerix_cli.local.stack import state_dir  # noqa: PLC0415 - the same

    if running(directory := state_dir()) is None:
        raise UnreachableError(
            "No platform runs here.", f"no process holds the lock in {directory}", "valerix up, or valerix up --detach"
        )
