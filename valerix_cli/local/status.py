"""The status of the platform on this machine, from its supervisor and from each service."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from valerix_cli.clients.wire import Activation, Chaos
from valerix_cli.errors import CliError
from valerix_cli.local.instance import running
from valerix_cli.local.probe import ask
from valerix_cli.local.stack import Database, Service, read_secrets

State = Literal["starting", "running", "stopping", "stopped"]


class Check(msgspec.Struct, frozen=True):
    """One dependency as reported by a service."""

    status: str
    latency_ms: float | None = None
    detail: str | None = None


class Health(msgspec.Struct, frozen=True):
    """The health that a service reports; `unreachable` without a response."""

    status: Literal["ok", "degraded", "down", "unreachable"]
    checks: dict[str, Check] = {}


class ServiceStatus(Service, frozen=True, kw_only=True):
    kind: str
    uptime_seconds: float | None
    health: Health


class Alerts(msgspec.Struct, frozen=True):
    """The numbers of firing and of pending alerts."""

    firing: int
    pending: int


class PlatformStatus(msgspec.Struct, frozen=True):
    """`gremlins` is the active activation; None also if it is unknown: no response, or no readable token.

    `alerts` is None without Prometheus, or without a response from it.
    """

    state: State
    state_dir: str
    supervisor_pid: int | None = None
    uptime_seconds: float | None = None
    services: list[ServiceStatus] = []
    databases: dict[str, Database] = {}
    gremlins: Activation | None = None
    monitoring: dict[str, Database] = {}
    alerts: Alerts | None = None


def read_status(directory: Path) -> PlatformStatus:
    """Request the status of all services concurrently; takes as long as the slowest response, two seconds at most."""
    stack = running(directory)
    if stack is None:
        return PlatformStatus("stopped", str(directory))
    now = datetime.now(UTC)
    known = [(kind, service) for kind, replicas in stack.services.items() for service in replicas]
    with ThreadPoolExecutor(max_workers=len(known) + 2) as pool:
        alerts = pool.submit(_alerts, stack.monitoring.get("prometheus"))
        gremlins = pool.submit(_gremlins, [service for kind, service in known if kind == "inventory"], directory)
        health = list(pool.map(_health, [service for _, service in known]))
    return PlatformStatus(
        state=stack.state,
        state_dir=str(directory),
        supervisor_pid=stack.supervisor_pid,
        uptime_seconds=_seconds_since(stack.started_at, now),
        services=[
            ServiceStatus(
                **msgspec.structs.asdict(service),
                kind=kind,
                uptime_seconds=_seconds_since(service.since, now) if service.state == "running" else None,
                health=found,
            )
            for (kind, service), found in zip(known, health, strict=True)
        ],
        databases=stack.databases,
        gremlins=gremlins.result(),
        monitoring=stack.monitoring,
        alerts=alerts.result(),
    )


def _health(service: Service) -> Health:
    answer = ask(service.url, "/health")
    if answer is None:
        return Health("unreachable")
    try:
        return msgspec.json.decode(answer[1], type=Health)
    except msgspec.DecodeError:  # another server listens there
        return Health("unreachable")


def _gremlins(inventories: Iterable[Service], directory: Path) -> Activation | None:
    try:
        secrets = read_secrets(directory)
    except (OSError, CliError):
        return None
    for service in inventories:
        answer = ask(service.url, "/api/admin/chaos", token=secrets.operator_token if secrets else None)
        if answer and answer[0] == 200:  # noqa: PLR2004 - HTTP's OK
            return msgspec.json.decode(answer[1], type=Chaos).live
    return None


class _Active(msgspec.Struct, frozen=True):
    state: str


class _Data(msgspec.Struct, frozen=True):
    alerts: list[_Active]


class _Answer(msgspec.Struct, frozen=True):
    data: _Data


def _alerts(prometheus: Database | None) -> Alerts | None:
    """Count the alerts. Not by `clients.prometheus`, whose HTTP client takes longer to load than all the rest."""
    answer = ask(f"http://{prometheus.host}:{prometheus.port}", "/api/v1/alerts") if prometheus else None
    if answer is None:
        return None
    try:
        states = [one.state for one in msgspec.json.decode(answer[1], type=_Answer).data.alerts]
    except msgspec.DecodeError:  # another server listens there
        return None
    return Alerts(states.count("firing"), states.count("pending"))


def _seconds_since(then: datetime, now: datetime) -> float:
    return round((now - then).total_seconds(), 1)
