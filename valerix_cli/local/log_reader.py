"""The log files of a platform, read as lines with a source, a time and fields."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from valerix_cli.local.logs import KEPT, log_file, open_log

_POSTGRES = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) UTC \[\d+\] (.*)")
_VALKEY = re.compile(r"\d+:[A-Z] (\d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3}) [*#.-] (.*)")
_NEVER = datetime.min.replace(tzinfo=UTC)


class LogLine(msgspec.Struct, frozen=True):
    """One line of `source`: its JSON object, or its text as the `event` of one."""

    source: str
    at: datetime
    fields: dict[str, Any]


def sources(logs: Path) -> list[str]:
    """Return the names of all logs, such as `order-1` and `postgres`."""
    return sorted(path.stem for path in logs.glob("*.log"))


def meant_by(service: str, known: Iterable[str]) -> list[str]:
    """Return the members of `known` that `service` names: the service itself, or each replica of it."""
    return [name for name in known if name == service or name.rpartition("-")[0] == service]


def parse(source: str, text: str, before: datetime) -> LogLine:
    """Parse a line; `before` is the time of the line before, used if this one has no time (as in a traceback)."""
    try:
        fields = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        at, event = _plain(text)
        return LogLine(source, at or before, {"replica": source, "event": event})
    return LogLine(source, _time_of(fields) or before, fields)


def _time_of(fields: dict[str, Any]) -> datetime | None:
    try:
        return datetime.fromisoformat(fields["timestamp"])
    except (KeyError, TypeError, ValueError):
        return None


def _plain(text: str) -> tuple[datetime | None, str]:
    """Parse a line of PostgreSQL, which is set to UTC, or of Valkey, which uses local time."""
    if match := _POSTGRES.match(text):
        return datetime.strptime(match[1] + "+0000", "%Y-%m-%d %H:%M:%S.%f%z"), match[2]
    if match := _VALKEY.match(text):
        return datetime.strptime(match[1], "%d %b %Y %H:%M:%S.%f").astimezone(), match[2]
    return None, text


class Follower:
    """Continues to read one log, also after `rotate` has truncated it."""

    def __init__(self, logs: Path, source: str) -> None:
        self._source = source
        self._path = log_file(logs, source)
        self._position = 0
        self._last = _NEVER

    def so_far(self, count: int) -> list[LogLine]:
        """Return the last `count` lines, including those of rotated files."""
        self._position, texts = _whole_lines(self._path, 0)
        for number in range(1, KEPT + 1):
            if len(texts) >= count:
                break
            texts = _whole_lines(Path(f"{self._path}.{number}"), 0)[1] + texts
        return self._parsed(texts[-count:] if count else [])

    def new(self) -> list[LogLine]:
        """Return the lines written since the last call."""
        if self._path.exists() and self._path.stat().st_size < self._position:
            self._position = 0
        self._position, texts = _whole_lines(self._path, self._position)
        return self._parsed(texts)

    def _parsed(self, texts: list[str]) -> list[LogLine]:
        lines = []
        for text in texts:
            line = parse(self._source, text, self._last)
            self._last = line.at
            lines.append(line)
        return lines


def _whole_lines(path: Path, position: int) -> tuple[int, list[str]]:
    """Return the end position and the complete lines after `position`."""
    try:
        with open_log(path, "rb") as file:
            file.seek(position)
            content, newline, _ = file.read().rpartition(b"\n")
    except FileNotFoundError:
        return 0, []
    return position + len(content) + len(newline), [
        line for line in content.decode(errors="replace").splitlines() if line
    ]
