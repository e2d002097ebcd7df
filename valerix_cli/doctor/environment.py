"""The installation to check, read once: its platform, its state directory, its addresses."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from valerix_cli.config import LOCAL
from valerix_cli.contexts.find import find_context
from valerix_cli.contexts.model import Context
from valerix_cli.errors import CliError
from valerix_cli.local.instance import running
from valerix_cli.local.stack import Service, Stack, state_dir
from valerix_cli.settings import Settings


@dataclass(frozen=True)
class Limits:
    """Limits of the checks: seconds, bytes and numbers of files."""

    check: float = 10.0
    answer: float = 2.0
    room: int = 2**30
    memory: int = 400 * 2**20
    files: int = 1024
    drift: float = 2.0
    heartbeat: float = 10.0
    waiting: float = 60.0

    @classmethod
    def within(cls, seconds: float) -> "Limits":
        """Return limits with `seconds` for each check, and at most half of it for each response."""
        return cls(check=seconds, answer=min(cls.answer, seconds / 2))


@dataclass(frozen=True)
class Replica:
    """One process of a service; on this machine with its state from the supervisor."""

    service: str
    name: str
    url: str
    process: Service | None = None


def time_of_day() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Setup:
    """`directory` is None for a platform elsewhere, `context` if none runs here, `stack` in both cases."""

    name: str
    directory: Path | None
    environ: Mapping[str, str]
    context: Context | None
    stack: Stack | None = None
    limits: Limits = Limits()
    now: Callable[[], datetime] = time_of_day

    @property
    def elsewhere(self) -> str:
        """The reason why checks of this machine's platform are skipped for another one."""
        return f"`{self.name}` does not run on this machine."

    @property
    def replicas(self) -> list[Replica]:
        """Every known process of every service."""
        if self.stack:
            return [
                Replica(kind, one.name, one.url, one)
                for kind, several in self.stack.services.items()
                for one in several
            ]
        services = self.context.services if self.context else {}
        return [Replica(kind, f"{kind} {url}", url.rstrip("/")) for kind, urls in services.items() for url in urls]


def read_setup(settings: Settings, environ: Mapping[str, str], limits: Limits) -> Setup:
    """Return the installation of the current context. Raises BadUsageError for an unknown context."""
    name = settings.setting("context").value
    if name != LOCAL:
        return Setup(name, None, environ, find_context(settings, environ), limits=limits)
    directory = state_dir(environ)
    stack = context = None
    with suppress(OSError, CliError):  # a check reports the error
        stack = running(directory)
        context = find_context(settings, environ) if stack else None
    return Setup(name, directory, environ, context, stack if context else None, limits)
