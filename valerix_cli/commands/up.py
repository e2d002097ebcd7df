"""`valerix up`: start the platform on this machine."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valerix_cli.errors import BadUsageError
from valerix_cli.options import Format
from valerix_cli.output import Output, console_of_stdout, info, is_terminal, print_result
from valerix_cli.session import Session

if TYPE_CHECKING:
    from valerix_cli.local.stack import Stack
    from valerix_cli.local.up_options import UpOptions

_MOST_REPLICAS = 16
_SERVICES = ("order", "inventory", "worker", "frontend")


class Postgres(StrEnum):
    """The PostgreSQL to run."""

    EMBEDDED = "embedded"
    SYSTEM = "system"


def up(
    ctx: typer.Context,
    *,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Run in the background; return once everything is ready.")
    ] = False,
    replicas: Annotated[
        list[str] | None,
        typer.Option(metavar="SERVICE=N", help="Replicas of a service, such as order=2; repeatable."),
    ] = None,
    postgres: Annotated[
        Postgres | None,
        typer.Option(help="Embedded PostgreSQL, or the one installed on this machine."),
    ] = None,
    free_ports: Annotated[
        bool, typer.Option("--free-ports", help="Listen on free ports instead of 3000 to 3002.")
    ] = False,
    monitoring: Annotated[
        bool, typer.Option("--monitoring", help="Run Prometheus and Alertmanager with Valerix' rules.")
    ] = False,
    alert_webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="URL that Alertmanager sends alerts to.")
    ] = None,
) -> None:
    """Start the platform on this machine.

    Requires only this package, which includes PostgreSQL and Valkey. VALERIX_DATABASE_URL (of a role that may create
    roles and databases) and VALERIX_REDIS_URL name servers to use instead. All data is stored in VALERIX_STATE_DIR.
    """
    from valerix_cli.local import prometheus, state_directory  # noqa: PLC0415 - --help must not pay for it
    from valerix_cli.local.daemon import DaemonProcess  # noqa: PLC0415 - the same
    from valerix_cli.local.instance import claim  # noqa: PLC0415 - the same
    from valerix_cli.local.stack import state_dir  # noqa: PLC0415 - the same
    from valerix_cli.local.up_options import UpOptions  # noqa: PLC0415 - the same

    session: Session = ctx.obj
    limit = session.settings.setting("timeout").value
    options = UpOptions(
        parse_replicas(replicas or []),
        postgres.value if postgres else None,
        free_ports,
        monitoring or alert_webhook is not None,
        _webhook(alert_webhook),
    )
    if options.monitoring:
        for product in ("Prometheus", "Alertmanager"):
            prometheus.program(product)  # fails before anything is started
    directory = state_dir()
    with state_directory.cli_errors(directory):
        state_directory.prepare(directory)
        lock = claim(directory)
        if not detach:
            _stay(directory, options, lock, session.output)
            return
        supervisor = DaemonProcess(directory, options, lock)
        from valerix_cli.views.platform import stack_view  # noqa: PLC0415 - loads Rich, while the supervisor starts

        stack = supervisor.wait_until_ready(lambda notice: info(notice.event, session.output), limit)
    print_result(stack, stack_view, session.output)
    info("Undo: valerix down", session.output)


def parse_replicas(given: list[str]) -> dict[str, int]:
    """Return {"order": 2} for `order=2`; accepts several, separated by commas. Raises BadUsageError if invalid."""
    counts = {}
    for part in ",".join(given).split(",") if given else []:
        name, _, number = part.partition("=")
        if name not in _SERVICES or not number.isdecimal() or not 1 <= int(number) <= _MOST_REPLICAS:
            raise BadUsageError(
                f"Invalid --replicas {part}.",
                f"expected one of {', '.join(_SERVICES)}, and a number from 1 to {_MOST_REPLICAS}",
                "valerix up --replicas order=2",
            )
        counts[name] = int(number)
    return counts


def _webhook(url: str | None) -> str | None:
    """Return the URL. Raises BadUsageError if it is not http or https."""
    if url is None or (url.startswith(("http://", "https://")) and " " not in url):
        return url
    raise BadUsageError(
        f"Invalid --alert-webhook {url}.",
        "it has to be an address that begins with http:// or https://",
        "valerix up --monitoring --alert-webhook http://127.0.0.1:8080/alerts",
    )


def _stay(directory: Path, options: "UpOptions", lock: int, output: Output) -> None:
    """Supervise until a stop is requested. Raises typer.Exit if that happens before everything is ready."""
    live = output.format is Format.TABLE and is_terminal(sys.stdout) and not output.quiet
    stopped_by = (
        _with_a_live_view(directory, options, lock) if live else _line_by_line(directory, options, lock, output)
    )
    if stopped_by:
        raise typer.Exit(128 + stopped_by)


def _with_a_live_view(directory: Path, options: "UpOptions", lock: int) -> int | None:
    from valerix_cli.console import above, unredirected_live  # noqa: PLC0415 - --help must not pay for it
    from valerix_cli.escaping import escape_values  # noqa: PLC0415 - the same
    from valerix_cli.local.supervisor import supervise  # noqa: PLC0415 - the same
    from valerix_cli.views.platform import live_view, notice_line  # noqa: PLC0415 - the same

    newest: list[Stack] = []
    console = console_of_stdout()
    live = unredirected_live(console, get_renderable=lambda: live_view(newest[-1] if newest else None))
    live.start()
    try:
        with above(console):
            return supervise(
                directory,
                options,
                lock=lock,
                listener=lambda notice: console.print(notice_line(escape_values(notice))),
                watch=lambda stack: newest.__setitem__(slice(None), [escape_values(stack)]),
            )
    finally:
        live.stop()


def _line_by_line(directory: Path, options: "UpOptions", lock: int, output: Output) -> int | None:
    from valerix_cli.local.supervisor import supervise  # noqa: PLC0415 - --help must not pay for it
    from valerix_cli.views.platform import stack_view  # noqa: PLC0415 - the same

    shown: list[Stack] = []

    def show_once_ready(stack: "Stack") -> None:
        if stack.state == "running" and not shown:
            shown.append(stack)
            print_result(stack, stack_view, output)

    return supervise(
        directory, options, lock=lock, listener=lambda notice: info(notice.event, output), watch=show_once_ready
    )
