"""Named steps at which a process kills or stops itself, so that tests can crash it exactly there.

They do nothing unless `VALERIX_CRASH_AT` names one, which requires `VALERIX_CHAOS_ALLOWED`.
"""

import os
import signal

import msgspec

from services.common.settings import ServiceSettings, SettingsError


class _Armed(msgspec.Struct):
    """The armed crash point, its signal, and the number of passes until it fires."""

    at: str
    signal: signal.Signals
    due_in: int


_armed: _Armed | None = None


def arm(settings: ServiceSettings, known: frozenset[str]) -> None:
    """Arm the crash point of the settings. Raises SettingsError if it is not allowed or unknown."""
    global _armed  # noqa: PLW0603 - one process, one crash point; passing it everywhere would cost every step a parameter
    name = settings.crash_at
    if name is not None and not settings.chaos_allowed:
        raise SettingsError("VALERIX_CRASH_AT needs VALERIX_CHAOS_ALLOWED=1")
    if name is not None and name not in known:
        raise SettingsError(f"VALERIX_CRASH_AT: no crash point {name!r} here; there are {', '.join(sorted(known))}")
    number = signal.SIGSTOP if settings.crash_signal == "stop" else signal.SIGKILL
    _armed = None if name is None else _Armed(name, number, settings.crash_skip + 1)


def is_armed() -> bool:
    """Return whether a crash point is armed; then batches are processed step by step."""
    return _armed is not None


def crash_point(*names: str) -> None:
    """Kill this process without any clean-up if one of `names` is armed; or stop it once, until SIGCONT."""
    if _armed is not None and _armed.at in names:
        _armed.due_in -= 1
        if _armed.due_in == 0:
            os.kill(os.getpid(), _armed.signal)
