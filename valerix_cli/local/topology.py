"""The processes of a platform and the environment of each. Pure."""

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from valerix_cli import bundled
from valerix_cli.local.environment import needed
from valerix_cli.local.launch import Account, Launch
from valerix_cli.local.ports import LOOPBACK
from valerix_cli.local.stack import INVENTORY_DB, ORDER_DB
from valerix_cli.local.state_directory import DASHBOARD_CONTEXTS

PREFIX = "VALERIX_"
_CONTEXT = "platform"
_AUDIT = {ORDER_DB: "AUDIT_ORDER_DATABASE", INVENTORY_DB: "AUDIT_INVENTORY_DATABASE"}
FORWARDED_SETTINGS = (
    "LEASE_SECONDS",
    "INVENTORY_TIMEOUT_SECONDS",
    "BACKLOG_CAP",
    "MAX_ATTEMPTS",
    "RATE_LIMIT_PER_MINUTE",
    "TRUSTED_HOPS",
    "ALLOWED_HOSTS",
    "LOG_LEVEL",
    "BREAKER_WINDOW_SECONDS",
    "BREAKER_MINIMUM_CALLS",
    "BREAKER_THRESHOLD_PERCENT",
    "BREAKER_OPEN_SECONDS",
    "REFRESH_INTERVAL_SECONDS",
    "AUDIT_INTERVAL_SECONDS",
    "SECURE_COOKIES",
)
"""Settings of the services that `valerix up` passes on from its environment to all of them."""


@dataclass(frozen=True)
class ServiceKind:
    """A kind of service: its module, its database role if it has one, and the preferred port of its first replica."""

    name: str
    module: str
    role: str = ""
    port: int | None = None


INVENTORY = ServiceKind("inventory", "services.inventory.asgi", "inventory_service", 3002)
ORDER = ServiceKind("order", "services.order.asgi", "order_service", 3001)
WORKER = ServiceKind("worker", "services.order.worker", "order_service")
FRONTEND = ServiceKind("frontend", "services.frontend.asgi", port=3000)
KINDS = (INVENTORY, ORDER, WORKER, FRONTEND)
"""In the reverse of the order in which they are stopped: callers stop first."""

MIGRATIONS = (
    (INVENTORY, ("services.inventory.migrate", "--seed")),
    (ORDER, ("services.order.migrate",)),
)


@dataclass(frozen=True)
class Replica:
    """One process of a kind."""

    kind: ServiceKind
    number: int
    port: int

    @property
    def name(self) -> str:
        return f"{self.kind.name}-{self.number}"

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"


@dataclass(frozen=True)
class Dependencies:
    """The dependencies of the services: each role's database, Redis, and credentials."""

    database_urls: Mapping[str, str]
    redis_url: str
    service_token: str
    operator_token: str
    dashboard_password: str
    auditor_urls: Mapping[str, str] = field(default_factory=dict)
    """The auditor's connection string of each database, by its name."""


def environment(
    replica: Replica, fleet: tuple[Replica, ...], dependencies: Dependencies, environ: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of `replica`: its settings, and the variables that it needs of `environ`."""
    variables = _of_dashboard(fleet, dependencies) if replica.kind == FRONTEND else _of_service(fleet, dependencies)
    return (
        _base(replica.kind, dependencies, environ)
        | {"VALERIX_HOST": LOOPBACK, "VALERIX_PORT": str(replica.port), "VALERIX_REPLICA": replica.name}
        | variables
    )


def _of_service(fleet: tuple[Replica, ...], dependencies: Dependencies) -> dict[str, str]:
    return {
        "VALERIX_SERVICE_TOKENS": dependencies.service_token,
        "VALERIX_OPERATOR_TOKENS": dependencies.operator_token,
        "VALERIX_CHAOS_ALLOWED": "1",
        "VALERIX_INVENTORY_URL": _urls(fleet, INVENTORY),
    }


def _of_dashboard(fleet: tuple[Replica, ...], dependencies: Dependencies) -> dict[str, str]:
    """Return the settings of the dashboard, whose audits use the command line and the file of `dashboard_contexts`.

    The file is found relative to the working directory, even if the dashboard's user may not enter its parents.
    """
    return {
        "VALERIX_ORDER_URL": _urls(fleet, ORDER),
        "VALERIX_INVENTORY_URL": _urls(fleet, INVENTORY),
        "VALERIX_WORKER_URL": _urls(fleet, WORKER),
        "VALERIX_OPERATOR_TOKEN": dependencies.operator_token,
        "VALERIX_DASHBOARD_PASSWORD": dependencies.dashboard_password,
        "VALERIX_REDIS_URL": dependencies.redis_url,
        "VALERIX_AUDIT_COMMAND": shlex.join(
            [*_python("valerix_cli", "audit"), "--output", "json", "--context", _CONTEXT]
        ),
        "VALERIX_CONFIG": DASHBOARD_CONTEXTS,
        **{_AUDIT[name]: url for name, url in dependencies.auditor_urls.items()},
    }


def dashboard_contexts(fleet: tuple[Replica, ...]) -> str:
    """Return the content of the file `DASHBOARD_CONTEXTS`; no secrets."""
    addresses = {kind.name: [one.url for one in fleet if one.kind == kind] for kind in (ORDER, INVENTORY)}
    lines = [f"{name} = {json.dumps(urls)}" for name, urls in addresses.items()]
    lines += [f"order_database_env = {json.dumps(_AUDIT[ORDER_DB])}"]
    lines += [f"inventory_database_env = {json.dumps(_AUDIT[INVENTORY_DB])}"]
    return "\n".join([f"[contexts.{_CONTEXT}]", *lines, ""])


def _urls(fleet: tuple[Replica, ...], kind: ServiceKind) -> str:
    return ",".join(replica.url for replica in fleet if replica.kind == kind)


def service(
    replica: Replica,
    fleet: tuple[Replica, ...],
    dependencies: Dependencies,
    environ: Mapping[str, str],
    home: Path,
    account: Account | None = None,
) -> Launch:
    return Launch(_python(replica.kind.module), home, environment(replica, fleet, dependencies, environ), account)


def migration(
    kind: ServiceKind,
    module: tuple[str, ...],
    dependencies: Dependencies,
    environ: Mapping[str, str],
    home: Path,
    account: Account | None = None,
) -> Launch:
    variables = {"VALERIX_REPLICA": f"{kind.name}-migrate"}
    return Launch(_python(*module), home, _base(kind, dependencies, environ) | variables, account)


def _base(kind: ServiceKind, dependencies: Dependencies, environ: Mapping[str, str]) -> dict[str, str]:
    """Return common variables. Of this process's VALERIX_ variables only those for the services are passed on."""
    kept = needed(environ) | {"PYTHONPATH": str(bundled.ROOT)}
    tuned = {PREFIX + name: environ[PREFIX + name] for name in FORWARDED_SETTINGS if environ.get(PREFIX + name)}
    if not kind.role:
        return kept | tuned
    return (
        kept
        | tuned
        | {"VALERIX_DATABASE_URL": dependencies.database_urls[kind.role], "VALERIX_REDIS_URL": dependencies.redis_url}
    )


def _python(*module: str) -> tuple[str, ...]:
    """Return the command for a module, never one of the working directory (-P), which may have a folder `services`."""
    return (sys.executable, "-P", "-m", *module)
