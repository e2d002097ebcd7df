"""`valerix logs`: logs of the services, the databases and the supervisor."""

import itertools
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valerix_cli.errors import BadUsageError, UnreachableError
from valerix_cli.options import MOST, Format
from valerix_cli.output import Output, print_result, write_line
from valerix_cli.session import Session

if TYPE_CHECKING:
    from valerix_cli.local.log_reader import LogLine

_EVERY = 0.2  # seconds


def logs(
    ctx: typer.Context,
    service: Annotated[
        str | None, typer.Argument(help="order, order-1, worker, inventory, postgres, redis or supervisor.")
    ] = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the logs until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, max=MOST, help="Number of most recent lines.")] = 50,
) -> None:
    """Show the latest log lines in order of time, whether the platform runs or not.

    Log lines of the services are JSON: -o jsonl prints them unchanged.
    """
    from valerix_cli.local import state_directory  # noqa: PLC0415 - --help must not pay for it
    from valerix_cli.local.log_reader import Follower  # noqa: PLC0415 - the same
    from valerix_cli.local.stack import state_dir  # noqa: PLC0415 - the same

    session: Session = ctx.obj
    directory = state_dir() / state_directory.LOGS
    with state_directory.cli_errors(directory.parent):
        followers = {name: Follower(directory, name) for name in _sources(directory, service)}
        earlier = _in_order(one.so_far(lines) for one in followers.values())
        _write(earlier[-lines:] if lines else [], session.output, following=follow)
        while follow:
            time.sleep(_EVERY)
            for name in _sources(directory, service):
                followers.setdefault(name, Follower(directory, name))
            _write(_in_order(one.new() for one in followers.values()), session.output, following=True)


def _sources(directory: Path, service: str | None) -> list[str]:
    """Return the names of the logs. Raises UnreachableError if there are none, BadUsageError if `service` has none."""
    from valerix_cli.local.log_reader import meant_by, sources  # noqa: PLC0415 - --help must not pay for it
    from valerix_cli.trust import ensure_trusted  # noqa: PLC0415 - the same

    ensure_trusted(directory.parent)
    known = sources(directory)
    if not known:
        raise UnreachableError("Nothing was logged yet.", f"there are no logs in {directory}", "valerix up --detach")
    names = known if service is None else meant_by(service, known)
    if not names:
        raise BadUsageError(f"{service} has logged nothing.", f"there are logs of {', '.join(known)}", "valerix logs")
    return names


def _in_order(batches: "Iterable[list[LogLine]]") -> "list[LogLine]":
    return sorted(itertools.chain.from_iterable(batches), key=lambda line: line.at)


def _write(lines: "list[LogLine]", output: Output, *, following: bool) -> None:
    from valerix_cli.views.platform import log_view  # noqa: PLC0415 - --help must not pay for it

    if output.format is Format.TABLE:
        if lines:
            print_result(lines, log_view, output)
    elif following:
        for line in lines:
            write_line(line.fields, output)
    else:
        print_result([line.fields for line in lines], str, output)
