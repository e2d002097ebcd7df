"""Events of the supervisor: a line per change, for listeners and for its log."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from valerix_cli.local.logs import open_log

SUPERVISOR = "supervisor"

Level = Literal["info", "warning", "error"]


class Notice(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that happened. It reads like the services' own log lines: the same keys mean the same."""

    timestamp: datetime
    level: Level
    event: str
    service: str
    replica: str
    why: str | None = None
    hint: str | None = None


Listener = Callable[[Notice], None]


class SupervisorLog:
    """Tells each of its listeners; none can stop the supervisor, be it by a closed terminal or by a full disk."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    def info(self, event: str) -> None:
        self._publish("info", event)

    def warning(self, event: str) -> None:
        self._publish("warning", event)

    def error(self, event: str, *, why: str, hint: str) -> None:
        self._publish("error", event, why, hint)

    def _publish(self, level: Level, event: str, why: str | None = None, hint: str | None = None) -> None:
        notice = Notice(datetime.now(UTC), level, event, SUPERVISOR, SUPERVISOR, why, hint)
        for listener in self._listeners:
            try:
                listener(notice)
            except OSError:
                continue


def into(log: Path) -> Listener:
    """A listener that appends JSON lines to `log`."""

    def write(notice: Notice) -> None:
        with open_log(log, "ab") as file:
            file.write(msgspec.json.encode(notice) + b"\n")

    return write
