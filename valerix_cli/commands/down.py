"""`valerix down`: stop the platform on this machine."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from valerix_cli.errors import GuardError
from valerix_cli.output import ask_yes_no, info, warn
from valerix_cli.session import Session

_PATIENCE = 120.0  # seconds: each service may take 20 to finish requests in flight, PostgreSQL 30


def down(
    ctx: typer.Context,
    *,
    wipe: Annotated[bool, typer.Option("--wipe", help="Delete its data as well.")] = False,
) -> None:
    """Stop the platform on this machine; its data is kept.

    The services finish requests in flight first. With --wipe the state directory is deleted; external databases that
    the platform used keep their data.
    """
    from valerix_cli.local.instance import end  # noqa: PLC0415 - --help must not pay for it
    from valerix_cli.local.stack import state_dir  # noqa: PLC0415 - the same

    session: Session = ctx.obj
    directory = state_dir()
    if wipe:
        _confirm(session, directory)
    stopped = end(directory, session.settings.setting("timeout").value or _PATIENCE)
    info("Stopped." if stopped else f"No platform runs from {directory}.", session.output)
    if wipe:
        _wipe(session, directory)
    elif stopped:
        info(f"Its data stays in {directory}. Undo: valerix up --detach", session.output)


def _confirm(session: Session, directory: Path) -> None:
    """Ask for confirmation before the platform is stopped. Raises GuardError if it is not given."""
    if session.options.yes:
        return
    if session.settings.setting("no_input").value or not sys.stdin.isatty():
        raise GuardError(f"{directory} was not deleted.", "confirmation is impossible without a terminal", "add --yes")
    if not ask_yes_no(f"Delete {directory} with every order in it? This cannot be undone."):
        raise GuardError(f"{directory} was not deleted.", "the answer was no", "valerix down, to stop it only")


def _wipe(session: Session, directory: Path) -> None:
    from valerix_cli.local import state_directory  # noqa: PLC0415 - --help must not pay for it
    from valerix_cli.local.instance import claim  # noqa: PLC0415 - the same

    if not directory.exists():
        info(f"{directory} does not exist: nothing to delete.", session.output)
        return
    state_directory.refuse_unmarked(directory)
    lock = claim(directory)  # prevents the start of another platform
    left = state_directory.wipe(directory)
    os.close(lock)
    if left:
        warn(f"Deleted the files of Valerix in {directory}; kept {', '.join(left)}.", session.output)
    else:
        info(f"{'Emptied' if directory.exists() else 'Deleted'} {directory}.", session.output)
