"""Results of checks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from valerix_cli.checks import Status
from valerix_cli.doctor.model import Check, Group
from valerix_cli.errors import CliError
from valerix_cli.reasons import why

Fix = Callable[[], str]
"""Corrects a fault without losing data, and returns a sentence about it. Raises OSError."""

UP = "valerix up --detach"
AGAIN = "valerix down && valerix up --detach"
FIX = "valerix doctor --fix"


@dataclass(frozen=True)
class Finding:
    """The result of a check, and its fix, if the fault can be corrected without losing data."""

    check: Check
    fix: Fix | None = None


@dataclass(frozen=True)
class Subject:
    """The subject of a check; creates its results."""

    group: Group
    name: str

    def ok(self, found: str) -> Finding:
        return self._finding("ok", found)

    def warning(self, found: str, hint: str, fix: Fix | None = None) -> Finding:
        return self._finding("warning", found, hint, fix)

    def failed(self, found: str, hint: str, fix: Fix | None = None) -> Finding:
        return self._finding("failed", found, hint, fix)

    def skipped(self, why: str, hint: str | None = None) -> Finding:
        return self._finding("skipped", why, hint)

    def refused(self, error: CliError) -> Finding:
        """Return a failed finding with the reason and hint of a command's error."""
        return self.failed(f"{error.what.rstrip('.')}: {one_line(error.why)}", error.hint)

    def _finding(self, status: Status, found: str, hint: str | None = None, fix: Fix | None = None) -> Finding:
        return Finding(Check(self.group, self.name, status, found, hint, fix is not None), fix)


@dataclass(frozen=True)
class CheckTask:
    """A check with a time limit. A timeout is reported for `about`, with a hint."""

    about: Subject
    check: Callable[[], Iterable[Finding]]
    timeout_hint: str
    pid: int | None = None
    """The process that it checks, if it is on this machine."""


def skipped_without_platform(*about: Subject) -> CheckTask:
    """Return the checks that are skipped if no platform runs."""
    return CheckTask(about[0], lambda: [one.skipped("No platform runs here.", UP) for one in about], UP)


def one_line(text: object) -> str:
    """Return a text without line breaks, with a full stop at its end."""
    message = why(text) if isinstance(text, BaseException) else str(text)
    line = " ".join(message.split()).rstrip(".")
    return f"{line}."
