"""Views of alerts: subject, start and reason."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec
from rich.console import RenderableType
from rich.text import Text

from valerix_cli.clients.prometheus import Alert
from valerix_cli.units import format_duration
from valerix_cli.views.tables import coloured, fine_clock, table

_LIKE = {"firing": "open", "pending": "pending", "ended": "closed"}


class AlertChange(msgspec.Struct, frozen=True):
    """An alert that is new, still firing, or resolved."""

    at: datetime
    alert: str
    state: Literal["firing", "pending", "ended"]
    labels: dict[str, str]
    summary: str


def alerts_view(alerts: Sequence[Alert], rules: int | None = None) -> RenderableType:
    """Show the alerts; without any, the number of `rules`."""
    if not alerts:
        return Text("No alert fires." if rules is None else f"No alert fires, by {rules} rules.")
    now = datetime.now(UTC)
    return table(
        "alert",
        "state",
        "severity",
        "for",
        "why",
        "read on",
        rows=[
            [
                one.alert,
                coloured(one.state, _LIKE[one.state]),
                one.severity,
                format_duration((now - one.since).total_seconds()),
                f"{one.summary}. {one.description}",
                one.runbook,
            ]
            for one in alerts
        ],
        right=("for",),
        wrap=("why",),
        spare=("read on", "severity"),
    )


def alert_changes(before: Sequence[Alert] | None, now: Sequence[Alert]) -> list[AlertChange]:
    """Return the alerts that became pending, fired or ended since `before`."""
    at = datetime.now(UTC)
    then = {_which(one): one for one in before or ()}
    left = {_which(one) for one in now}
    return [
        *(
            AlertChange(at, one.alert, one.state, one.labels, one.summary)
            for one in now
            if _which(one) not in then or then[_which(one)].state != one.state
        ),
        *(
            AlertChange(at, one.alert, "ended", one.labels, one.summary)
            for which, one in then.items()
            if which not in left
        ),
    ]


def change_line(change: AlertChange) -> str:
    return f"{fine_clock(change.at)}  {change.alert}  {change.state}  {change.summary}"


def _which(alert: Alert) -> tuple[str, ...]:
    return (alert.alert, *(f"{name}={value}" for name, value in sorted(alert.labels.items())))
