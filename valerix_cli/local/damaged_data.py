"""Moves data aside that a server cannot start with, for later inspection."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

KEPT = 3
_SUFFIX = ".damaged-"


def set_aside(stored: Path) -> Path | None:
    """Rename `stored` to a name with the current time, and return that; None if it does not exist or cannot be renamed.

    The newest three are kept.
    """
    if not stored.exists():
        return None
    aside = stored.with_name(f"{stored.name}{_SUFFIX}{datetime.now(UTC):%Y%m%d-%H%M%S-%f}")
    try:
        stored.rename(aside)
    except OSError:
        return None
    for old in sorted(stored.parent.glob(f"{stored.name}{_SUFFIX}*"))[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return aside
