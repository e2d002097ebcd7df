"""Client of Prometheus' HTTP API: the state of its alerting rules."""

from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
import msgspec

from valerix_cli.addresses import in_the_clear, past_proxies, without_user
from valerix_cli.errors import BadUsageError, GuardError, UnreachableError
from valerix_cli.reasons import why

_LIMIT = 5.0  # seconds

State = Literal["firing", "pending"]
_ORDER: tuple[State, ...] = ("firing", "pending")


class Alert(msgspec.Struct, frozen=True):
    """One alert that is firing or pending; `labels` identify its subject, `since` is when it became active."""

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


class Alerting(msgspec.Struct, frozen=True):
    """Pending and firing alerts, the number of `rules`, and those not evaluated (`silent`), each with the reason."""

    alerts: list[Alert]
    rules: int
    silent: dict[str, str]


class _Rule(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    health: str
    alerts: list[_Active] = []
    last_error: str = ""


class _Group(msgspec.Struct, frozen=True):
    rules: list[_Rule]


class _Data(msgspec.Struct, frozen=True):
    groups: list[_Group]


class _Answer(msgspec.Struct, frozen=True):
    data: _Data


def alerts(url: str, limit: float | None = None) -> Alerting:
    """Return pending and firing alerts of the Prometheus at `url`; firing ones come first.

    Raises UnreachableError; GuardError if a password in `url` would be sent unencrypted; BadUsageError for an invalid
    address.
    """
    shown = without_user(url)
    try:
        urlsplit(url)
    except ValueError as error:
        hint = "an address such as http://127.0.0.1:9090"
        raise BadUsageError(f"No request was sent to the Prometheus at {shown}.", why(error), hint) from error
    if shown != url and in_the_clear([url]):
        raise GuardError(
            f"No request was sent to the Prometheus at {shown}.",
            "the password in its address would be sent by plain http to another machine",
            "use https",
        )
    try:
        with httpx.Client(timeout=limit or _LIMIT, mounts=past_proxies([url])) as http:
            answer = http.get(f"{url.rstrip('/')}/api/v1/rules", params={"type": "alert"}).raise_for_status()
        groups = msgspec.json.decode(answer.content, type=_Answer).data.groups
    except (httpx.HTTPError, httpx.InvalidURL, msgspec.DecodeError) as error:
        reason = without_user(why(error, _Answer))
        raise UnreachableError(
            f"The alerts of the Prometheus at {shown} cannot be read.", reason, "valerix status"
        ) from error
    rules = [rule for group in groups for rule in group.rules]
    active = sorted(
        (_alert(one) for rule in rules for one in rule.alerts), key=lambda one: (_ORDER.index(one.state), one.since)
    )
    silent = {rule.name: rule.last_error or "not evaluated yet" for rule in rules if rule.health != "ok"}
    return Alerting(active, len(rules), silent)


def _alert(active: _Active) -> Alert:
    annotations: dict[str, Any] = {
        name: active.annotations.get(name, "") for name in ("summary", "description", "runbook")
    }
    return Alert(
        alert=active.labels.get("alertname", ""),
        state=active.state,
        severity=active.labels.get("severity", ""),
        since=active.active_at,
        labels={name: value for name, value in active.labels.items() if name not in {"alertname", "severity"}},
        **annotations,
    )
