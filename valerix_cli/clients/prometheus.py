"""What Prometheus says of alerts, by its HTTP API."""

from datetime import datetime
from typing import Any, Literal

import httpx
import msgspec

from valerix_cli.addresses import in_the_clear, past_proxies, without_user
from valerix_cli.errors import GuardError, UnreachableError

_LIMIT = 5.0  # seconds

State = Literal["firing", "pending"]
_ORDER: tuple[State, ...] = ("firing", "pending")


class Alert(msgspec.Struct, frozen=True):
    """One alert that fires, or will if it stays so (`pending`). `labels` say of what; `since` is when it began."""

    alert: str
    state: State
    severity: str
    since: datetime
    labels: dict[str, str]
    summary: str
    description: str
    runbook: str


class _Active(msgspec.Struct, frozen=True, rename="camel"):
    labels: dict[str, str]
    annotations: dict[str, str]
    state: State
    active_at: datetime


class _Data(msgspec.Struct, frozen=True):
    alerts: list[_Active]


class _Answer(msgspec.Struct, frozen=True):
    data: _Data


def alerts(url: str, limit: float | None = None) -> list[Alert]:
    """What is not well, by the Prometheus at `url`; what fires comes first.

    Raises UnreachableError, GuardError where a password in `url` could be read on its way.
    """
    shown = without_user(url)
    if shown != url and in_the_clear([url]):
        raise GuardError(
            f"The Prometheus at {shown} was not asked.",
            "the password in its address would be sent by plain http to another machine",
            "use https",
        )
    try:
        with httpx.Client(timeout=limit or _LIMIT, mounts=past_proxies([url])) as http:
            answer = http.get(f"{url.rstrip('/')}/api/v1/alerts").raise_for_status()
        found = msgspec.json.decode(answer.content, type=_Answer).data.alerts
    except (httpx.HTTPError, httpx.InvalidURL, msgspec.DecodeError) as error:
        why = without_user(str(error)) or type(error).__name__
        raise UnreachableError(f"The Prometheus at {shown} did not say.", why, "valerix status") from error
    return sorted((_alert(one) for one in found), key=lambda one: (_ORDER.index(one.state), one.since))


def _alert(active: _Active) -> Alert:
    told: dict[str, Any] = {name: active.annotations.get(name, "") for name in ("summary", "description", "runbook")}
    return Alert(
        alert=active.labels.get("alertname", ""),
        state=active.state,
        severity=active.labels.get("severity", ""),
        since=active.active_at,
        labels={name: value for name, value in active.labels.items() if name not in {"alertname", "severity"}},
        **told,
    )
