"""Named steps at which a process kills itself with SIGKILL, so that tests can crash it exactly there.

They do nothing unless `VALERIX_CRASH_AT` names one, and refuse to be named without `VALERIX_CHAOS_ALLOWED`.
"""

import os
import signal

from services.common.settings import ServiceSettings, SettingsError

_armed: str | None = None


def arm(settings: ServiceSettings, known: frozenset[str]) -> None:
    """Arm the one crash point that the settings name. Raises SettingsError when it may not or cannot."""
    global _armed  # noqa: PLW0603 - one process, one crash point; passing it everywhere would cost every step a parameter
    name = settings.crash_at
    if name is not None and not settings.chaos_allowed:
        raise SettingsError("VALERIX_CRASH_AT needs VALERIX_CHAOS_ALLOWED=1")
    if name is not None and name not in known:
        raise SettingsError(f"VALERIX_CRASH_AT: no crash point {name!r} here; there are {', '.join(sorted(known))}")
    _armed = name


def crash_point(*names: str) -> None:
    """Die here, with no chance to clean up, if one of `names` is armed."""
    if _armed is not None and _armed in names:
        os.kill(os.getpid(), signal.SIGKILL)
