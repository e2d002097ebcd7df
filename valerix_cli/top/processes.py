"""State of each process of the platform: from the supervisor on this machine, from its own health elsewhere."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import msgspec

from valerix_cli.clients.http import Replicas
from valerix_cli.errors import CliError
from valerix_cli.local.stack import Database
from valerix_cli.local.status import Health, PlatformStatus, ServiceStatus
from valerix_cli.top.model import Process, Services


class _Named(Health, frozen=True):
    replica: str = ""


def of_this_machine(status: PlatformStatus) -> Services:
    """Return the processes as the supervisor and the services report them."""
    now = datetime.now(UTC)
    processes = [_service(one) for one in status.services]
    processes += [_database(name, one, now) for name, one in status.databases.items()]
    return Services(status.state, processes, status.uptime_seconds)


def of_addresses(replicas: Mapping[str, Replicas]) -> Services:
    """Return the process at each address, as reported by itself."""
    with ThreadPoolExecutor(max_workers=max(len(replicas), 1)) as pool:
        processes = list(pool.map(_ask, replicas, replicas.values()))
    up = any(one.health != "unreachable" for one in processes)
    return Services("running" if up else "unreachable", processes)


def _ask(url: str, replica: Replicas) -> Process:
    try:
        answer = replica.send("GET", "/health")
        health = msgspec.json.decode(answer.content, type=_Named)
    except (CliError, msgspec.MsgspecError):  # no response, or one of another server
        return Process(url, None, "unreachable")
    return Process(health.replica or url, None, describe_health(health))


def describe_health(health: Health) -> str:
    """Return `degraded (redis)`: the health of a service, with its failed checks."""
    unhealthy = [name for name, check in health.checks.items() if check.status != "ok"]
    return health.status + (f" ({', '.join(unhealthy)})" if unhealthy else "")


def _service(one: ServiceStatus) -> Process:
    return Process(one.name, one.state, describe_health(one.health), one.uptime_seconds, one.restarts, one.last_exit)


def _database(name: str, one: Database, now: datetime) -> Process:
    seconds = None if one.since is None else (now - one.since).total_seconds()
    return Process(name, one.state or one.kind, None, seconds, one.restarts, one.last_exit)
