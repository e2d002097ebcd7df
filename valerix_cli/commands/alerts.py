"""`valerix alerts`: firing and pending alerts."""

from typing import TYPE_CHECKING, Annotated

import typer

from valerix_cli.errors import CliError, InconclusiveError, UnreachableError
from valerix_cli.output import follow, print_result, warn
from valerix_cli.polling import poll
from valerix_cli.session import Session

if TYPE_CHECKING:
    from valerix_cli.clients.prometheus import Alerting

_EVERY = 1.0  # seconds


def alerts(
    ctx: typer.Context,
    *,
    prometheus: Annotated[
        str | None,
        typer.Option(metavar="URL", envvar="VALERIX_PROMETHEUS_URL", help="Address of another Prometheus."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh until Ctrl-C.")] = False,
) -> None:
    """Show firing and pending alerts, with reasons; exit 12 if there is no rule, or one was not evaluated.

    `valerix up --monitoring` starts the Prometheus that evaluates the rules.
    """
    from valerix_cli.clients.prometheus import alerts as read_alerts  # noqa: PLC0415 - --help must not pay for it
    from valerix_cli.views import alerts as views  # noqa: PLC0415 - the same

    session: Session = ctx.obj
    url = prometheus or _of_this_machine()
    limit = session.settings.setting("timeout").value
    found = read_alerts(url, limit)
    error = error_of(found)
    if watch:
        if error:
            warn(f"{error.what} {error.why}", session.output)
        follow(
            poll(lambda: read_alerts(url, limit).alerts, session.output, every=_EVERY),
            screen=views.alerts_view,
            changes=views.alert_changes,
            line=views.change_line,
            output=session.output,
        )
        return
    if found.alerts or not error:
        print_result(found.alerts, lambda alerts: views.alerts_view(alerts, found.rules), session.output)
    if error:
        raise error


def error_of(found: "Alerting") -> CliError | None:
    """Return the error to exit with; None if there are rules and all were evaluated."""
    if not found.rules:
        return InconclusiveError(
            "No alert can fire.", "this Prometheus has no alerting rules", "load those in dashboards/rules"
        )
    if not found.silent:
        return None
    why = "; ".join(f"{name}: {why}" for name, why in found.silent.items())
    return InconclusiveError(
        f"{len(found.silent)} of {found.rules} alerting rules cannot be evaluated.",
        why,
        "valerix alerts again in a moment",
    )


def _of_this_machine() -> str:
    """Return the URL of the platform's Prometheus. Raises UnreachableError if none runs."""
    from valerix_cli.local.instance import running  # noqa: PLC0415 - only if no other is named
    from valerix_cli.local.stack import state_dir  # noqa: PLC0415 - the same

    directory = state_dir()
    stack = running(directory)
    if stack is None:
        raise UnreachableError(
            "No platform runs here.", f"no process holds the lock in {directory}", "valerix up --detach --monitoring"
        )
    place = stack.monitoring.get("prometheus")
    if place is None:
        raise UnreachableError(
            "Monitoring is not running for this platform.",
            "it was started without --monitoring",
            "valerix down, then valerix up --detach --monitoring; or name another by --prometheus URL",
        )
    return f"http://{place.host}:{place.port}"
