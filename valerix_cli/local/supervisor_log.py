"""Events of the supervisor, for listeners and for its log."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from valerix_cli.local.logs import open_log

SUPERVISOR = "supervisor"

Level = Literal["info", "warning", "error"]


class Notice(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event, with the keys of the services' log lines."""

    timestamp: datetime
    level: Level
    event: str
    service: str
    replica: str
    why: str | None = None
    hint: str | None = None


Listener = Callable[[Notice], None]


class SupervisorLog:
    """Passes events to each listener; an error of one (a closed terminal, a full disk) never stops the supervisor."""

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
    """Return a listener that appends JSON lines to `log`."""

    def write(notice: Notice) -> None:
        with open_log(log, "ab") as file:
            file.write(msgspec.json.encode(notice) + b"\n")

    return write
