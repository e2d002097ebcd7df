"""Checks of a service's reports: readiness, identity, and for a worker the age of its heartbeat."""

from typing import Literal

import httpx
import msgspec

from valerix_cli import __version__
from valerix_cli.doctor.environment import Replica, Setup
from valerix_cli.doctor.findings import AGAIN, Finding, Subject, one_line
from valerix_cli.local.stack import Service
from valerix_cli.local.status import Check
from valerix_cli.quoting import command, toml_table
from valerix_cli.units import format_duration

_HEARTBEAT = "worker_last_heartbeat_age_seconds "


class Ready(msgspec.Struct, frozen=True):
    """The response of /health/ready."""

    status: Literal["ok", "degraded", "down"]
    service: str
    replica: str
    version: str
    pid: int
    checks: dict[str, Check] = {}


def more_about(setup: Setup, replica: Replica) -> str:
    """Return the command that shows details of a replica."""
    if setup.directory:
        return command("valerix logs", replica.name)
    return command("curl -sS", f"{replica.url}/health/ready")


def evaluate(setup: Setup, replica: Replica, answer: httpx.Response, seconds: float) -> Finding:
    """Evaluate the response of a service, which took `seconds`: its identity, version and failed checks."""
    about, process = Subject("services", replica.name), replica.process
    other_address = f"correct the addresses of {toml_table(setup.name)}; valerix context show --origins"
    try:
        ready = msgspec.json.decode(answer.content, type=Ready)
    except msgspec.DecodeError:
        found = f"Another service answers there (HTTP {answer.status_code})."
        return about.failed(found, AGAIN if setup.directory else other_address)
    if ready.service != replica.service:
        return about.failed(f"The {ready.service} service answers there.", other_address)
    if process and ready.pid != process.pid:
        return about.failed(f"Process {ready.pid} answers there, and ours is {process.pid}.", AGAIN)
    if ready.status != "ok":
        return _ailing(setup, replica, ready)
    if ready.version != __version__:
        same = AGAIN if setup.directory else f"use valerix {ready.version} for it, or deploy {__version__}"
        return about.warning(f"It is of version {ready.version}, this command of {__version__}.", same)
    return about.ok(f"{ready.replica} is ready, answered in {format_duration(seconds)}{_restarts(process)}.")


def _ailing(setup: Setup, replica: Replica, ready: Ready) -> Finding:
    about = Subject("services", replica.name)
    causes = [f"{name}: {one.detail or one.status}" for name, one in ready.checks.items() if one.status != "ok"]
    summary = f"{ready.replica} is {ready.status}: {one_line('; '.join(causes))}"
    is_behind = any("OutdatedSchema" in cause for cause in causes)
    cure = AGAIN if is_behind and setup.directory else more_about(setup, replica)
    return about.failed(summary, cure) if ready.status == "down" else about.warning(summary, cure)


def _restarts(process: Service | None) -> str:
    if not process or not process.restarts:
        return ""
    return f"; started again {process.restarts} times, last exit {process.last_exit}"


def evaluate_heartbeat(name: str, answer: httpx.Response, limit: float) -> Finding:
    """Evaluate the age of the heartbeat of worker `name`, independent of wall clocks; `answer` is its /metrics."""
    about = Subject("services", f"{name} heartbeat")
    ages = [float(line.split()[1]) for line in answer.text.splitlines() if line.startswith(_HEARTBEAT)]
    if not ages:
        return about.skipped("It does not report when it last polled for work.")
    if ages[0] > limit:
        return about.failed(f"It last polled for work {format_duration(ages[0])} ago.", command("valerix logs", name))
    return about.ok("It polls for work.")
