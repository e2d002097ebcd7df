"""The files of a state directory: the running processes (stack.json) and the secrets (secrets.json)."""

import os
import secrets
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from valerix_cli.errors import UnreachableError
from valerix_cli.files import write_atomically
from valerix_cli.reasons import why
from valerix_cli.trust import ensure_trusted, read_own

MARKER = ".valerix-state"
STACK_FILE = "stack.json"
SECRETS_FILE = "secrets.json"
LOST_SECRETS = f"put the old {SECRETS_FILE} back, or start from scratch: valerix down --wipe"

ServiceState = Literal["starting", "running", "backing-off", "stopped"]


class Service(msgspec.Struct, frozen=True):
    """One process of the platform; `url` is None until it has a port, `pid` while it does not run."""

    name: str
    url: str
    port: int
    pid: int | None
    state: ServiceState
    restarts: int
    last_exit: int | None
    since: datetime
    start_time: int | None = None
    """Distinguishes the process from a later one with the same pid; see valerix_cli.local.identity."""


class Database(msgspec.Struct, frozen=True):
    """A server other than the services; the fields after `port` are None for an external one."""

    kind: Literal["embedded", "system", "external"]
    host: str
    port: int
    pid: int | None = None
    state: ServiceState | None = None
    restarts: int | None = None
    last_exit: int | None = None
    since: datetime | None = None
    start_time: int | None = None


class Stack(msgspec.Struct, frozen=True):
    """Everything a client needs to find the platform that runs from a state directory; holds no secrets."""

    state: Literal["starting", "running", "stopping"]
    supervisor_pid: int
    started_at: datetime
    log_dir: str
    valerix_version: str
    services: dict[str, tuple[Service, ...]]
    databases: dict[str, Database]
    monitoring: dict[str, Database] = {}
    supervisor_start: int | None = None
    version: Literal[1] = 1


AUDITOR = "auditor"
"""The role that may read both databases, and has no other permissions."""
ORDER_DB = "order_db"
INVENTORY_DB = "inventory_db"


Secret = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._~-]*$(?!\n)")]
"""Characters without escapes in URLs, configuration files, header fields and Redis' protocol (RFC 3986, 2.3)."""


class Secrets(msgspec.Struct, frozen=True):
    """The generated tokens and passwords of one state directory, all safe inside a URL."""

    operator_token: Secret
    service_token: Secret
    postgres_admin_password: Secret
    order_password: Secret
    inventory_password: Secret
    auditor_password: Secret
    redis_password: Secret
    dashboard_password: Secret = ""
    """Empty in a file from before there was a dashboard."""

    @property
    def database_passwords(self) -> dict[str, str]:
        """The password of each role."""
        return {
            "order_service": self.order_password,
            "inventory_service": self.inventory_password,
            AUDITOR: self.auditor_password,
        }

    @classmethod
    def generate(cls) -> "Secrets":
        return cls(**{name: secrets.token_urlsafe(24) for name in cls.__struct_fields__})


def auditor_url(stack: Stack, secrets: Secrets, database: str) -> str | None:
    """Return the auditor's connection string for a database; None while its address is unknown."""
    server = stack.databases.get("postgres")
    if server is None:
        return None
    return f"postgresql://{AUDITOR}:{secrets.auditor_password}@{server.host}:{server.port}/{database}"


def cache_url(stack: Stack, secrets: Secrets, environ: Mapping[str, str]) -> str | None:
    """Return the URL of Redis, embedded or that of VALERIX_REDIS_URL; None while it is unknown."""
    server = stack.databases.get("redis")
    if server is None or server.kind == "external":
        return environ.get("VALERIX_REDIS_URL")
    return f"redis://:{secrets.redis_password}@{server.host}:{server.port}/0"


def state_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Return VALERIX_STATE_DIR, else /var/lib/valerix for root, else the default state directory of this user."""
    environ = os.environ if environ is None else environ
    if chosen := environ.get("VALERIX_STATE_DIR"):
        return Path(chosen).expanduser().absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/valerix")
    from platformdirs import user_state_path  # noqa: PLC0415 - only an ordinary user's start pays for the import

    return user_state_path("valerix", appauthor=False)


def read_stack(directory: Path) -> Stack | None:
    """Read stack.json; None if it is missing, damaged, or of another version.

    It may be stale after a crash: `instance.running` checks that. Raises GuardError where another user
    could have written it.
    """
    ensure_trusted(directory)
    try:
        return msgspec.json.decode(read_own(directory / STACK_FILE), type=Stack)
    except (OSError, msgspec.DecodeError, RecursionError):
        return None


def stack_text(stack: Stack) -> bytes:
    """Return the content of stack.json."""
    return msgspec.json.format(msgspec.json.encode(stack))


def write_stack(directory: Path, stack: Stack) -> None:
    write_atomically(directory / STACK_FILE, stack_text(stack), mode=0o644)


def read_secrets(directory: Path) -> Secrets | None:
    """Return the secrets in `directory`, or None before the first start.

    Raises GuardError if the file is not owned by this user, UnreachableError if its content is invalid.
    """
    ensure_trusted(directory)
    file = directory / SECRETS_FILE
    try:
        return msgspec.json.decode(read_own(file), type=Secrets)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UnreachableError(f"{file} cannot be read.", why(error), LOST_SECRETS) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnreachableError(f"{file} is invalid.", why(error, Secrets), LOST_SECRETS) from error


def ensure_secrets(directory: Path) -> Secrets:
    """Return the secrets of `directory`, generated on the first call; those that a new version needs are added."""
    made, kept = Secrets.generate(), read_secrets(directory)
    if kept and kept.dashboard_password:
        return kept
    if kept:
        made = msgspec.structs.replace(kept, dashboard_password=made.dashboard_password)
    write_atomically(directory / SECRETS_FILE, msgspec.json.format(msgspec.json.encode(made)), mode=0o600)
    return made
