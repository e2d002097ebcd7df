"""Views of this machine's platform: processes, health and logs."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from valerix_cli.clients.chaos_text import notice as gremlin_notice
from valerix_cli.local.log_reader import LogLine
from valerix_cli.local.stack import Database, Service, Stack
from valerix_cli.local.status import Alerts, PlatformStatus, ServiceStatus
from valerix_cli.local.supervisor_log import Notice
from valerix_cli.units import format_duration
from valerix_cli.views.tables import fine_clock, table

_COLOURS = {
    "running": "green",
    "ok": "green",
    "starting": "yellow",
    "stopping": "yellow",
    "degraded": "yellow",
    "warning": "yellow",
    "backing-off": "red",
    "down": "red",
    "unreachable": "red",
    "error": "red",
    "critical": "red",
}
_ORIGIN = {"timestamp", "level", "event", "service", "replica", "exception"}


def stack_view(stack: Stack) -> RenderableType:
    """Return processes and addresses; durations are up to now."""
    now = datetime.now(UTC)
    services = [service for replicas in stack.services.values() for service in replicas]
    return table(
        "service",
        "state",
        "address",
        "pid",
        "for",
        "restarts",
        rows=[
            *(_service_row(service, now) for service in services),
            *(_database_row(name, one, now) for name, one in (stack.databases | stack.monitoring).items()),
        ],
        right=("pid", "for", "restarts"),
    )


def live_view(stack: Stack | None) -> RenderableType:
    """Return `stack_view` with the platform's state; a placeholder while `stack` is None."""
    if stack is None:
        return Text("Starting …", style="dim")
    what = {
        "starting": "Starting … Ctrl-C gives up.",
        "running": f"Running. Logs: valerix logs -f ({stack.log_dir}). Ctrl-C stops.",
        "stopping": "Stopping … Ctrl-C hurries.",
    }
    return Group(stack_view(stack), Text(what[stack.state], style="dim"))


def status_view(status: PlatformStatus) -> RenderableType:
    parts: list[RenderableType] = [Text.assemble(_coloured(status.state), f" in {status.state_dir}{_since(status)}")]
    if status.services or status.databases:
        parts += [Text(), _status_table(status)]
    if status.gremlins:
        parts += [Text(), Text(gremlin_notice(status.gremlins), style="yellow")]
    if status.alerts:
        parts += [Text(), _alerts(status.alerts)]
    return Group(*parts)


def _alerts(alerts: Alerts) -> Text:
    if not alerts.firing + alerts.pending:
        return Text("No alert fires.")
    fire = "1 alert fires" if alerts.firing == 1 else f"{alerts.firing} alerts fire"
    will = "1 is about to" if alerts.pending == 1 else f"{alerts.pending} are about to"
    return Text(f"{fire}, {will}. Which, and why: valerix alerts", style="red" if alerts.firing else "yellow")


def _since(status: PlatformStatus) -> str:
    if status.uptime_seconds is None:
        return ""
    return f" for {format_duration(status.uptime_seconds)}, supervised by pid {status.supervisor_pid}"


def _status_table(status: PlatformStatus) -> RenderableType:
    now = datetime.now(UTC)
    return table(
        "service",
        "state",
        "health",
        "address",
        "pid",
        "for",
        "restarts",
        rows=[
            *(_with_health(_service_row(one, now), _coloured(_health(one))) for one in status.services),
            *(
                _with_health(_database_row(name, one, now), Text())
                for name, one in (status.databases | status.monitoring).items()
            ),
        ],
        right=("pid", "for", "restarts"),
    )


def _with_health(row: list[RenderableType], health: Text) -> list[RenderableType]:
    return [*row[:2], health, *row[2:]]


def _health(service: ServiceStatus) -> str:
    """Return `degraded (redis)`: the health of a service, with its failed checks."""
    unhealthy = [name for name, check in service.health.checks.items() if check.status != "ok"]
    return service.health.status + (f" ({', '.join(unhealthy)})" if unhealthy else "")


def _service_row(service: Service, now: datetime) -> list[RenderableType]:
    return [service.name, _coloured(service.state), service.url, *_life(service, now)]


def _database_row(name: str, database: Database, now: datetime) -> list[RenderableType]:
    where = f"{database.host}:{database.port} ({database.kind})"
    return [name, _coloured(database.state or ""), where, *_life(database, now)]


def _life(one: Service | Database, now: datetime) -> list[RenderableType]:
    """Return its pid, the time in its state, and its restarts."""
    restarts = "" if one.restarts is None else str(one.restarts)
    return [
        "" if one.pid is None else str(one.pid),
        "" if one.since is None else format_duration((now - one.since).total_seconds()),
        f"{restarts} (last exit {one.last_exit})" if one.restarts else restarts,
    ]


def status_changes(before: PlatformStatus | None, now: PlatformStatus) -> list[tuple[str, str]]:
    """Return (name, state) of the platform and each service, if new or changed."""
    then = dict(_fares(before)) if before else {}
    return [(name, how) for name, how in _fares(now) if then.get(name) != how]


def _fares(status: PlatformStatus) -> Iterable[tuple[str, str]]:
    yield "platform", status.state
    for service in status.services:
        restarts = f", {service.restarts} restarts" if service.restarts else ""
        yield service.name, f"{service.state}, {_health(service)}{restarts}"
    if status.alerts:
        yield "alerts", f"{status.alerts.firing} fire, {status.alerts.pending} are about to"
    yield "gremlins", gremlin_notice(status.gremlins) if status.gremlins else "none"


def change_line(change: tuple[str, str]) -> str:
    name, how = change
    return f"{fine_clock(datetime.now(UTC))}  {name}  {how}"


def notice_line(notice: Notice) -> Text:
    return Text(notice.event, style=_COLOURS.get(notice.level, ""))


def log_view(lines: Iterable[LogLine]) -> RenderableType:
    lines = list(lines)
    width = max((len(line.source) for line in lines), default=0)
    return Text("\n").join(_log_line(line, width) for line in lines)


def _log_line(line: LogLine, width: int) -> Text:
    """Show time, process, level, message and fields of a log line; an exception below."""
    level = str(line.fields.get("level", ""))
    rest = " ".join(f"{name}={_value(value)}" for name, value in line.fields.items() if name not in _ORIGIN)
    text = Text.assemble(
        (fine_clock(line.at) if line.at.year > 1 else " " * 12, "dim"),
        f"  {line.source:<{width}}  ",
        _coloured(f"{level:<8}", level),
        str(line.fields.get("event", "")),
        (f"  {rest}" if rest else "", "dim"),
    )
    for extra in str(line.fields.get("exception", "")).splitlines():
        text.append(f"\n    {extra}", style="dim")
    return text


def _value(value: Any) -> str:
    return value if isinstance(value, str) and " " not in value else repr(value)


def _coloured(word: str, key: str | None = None) -> Text:
    return Text(word, style=_COLOURS.get((key or word).split(" ")[0], ""))
