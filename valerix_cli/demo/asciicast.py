"""Recordings in asciicast v2, the format of asciinema: https://docs.asciinema.org/manual/asciicast/v2/."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from valerix_cli import files
from valerix_cli.errors import BadUsageError

_VERSION = 2


def _is_ours(head: bytes) -> bool:
    """Return whether the first line is the header of a recording of the demo."""
    try:
        header = json.loads(head.partition(b"\n")[0])
    except ValueError:
        return False
    return isinstance(header, dict) and header.get("version") == _VERSION and "env" in header


_RECORDING = files.Kind("a recording in asciicast v2", _is_ours)


class Recording:
    """Writes terminal output line by line, so that an interrupted recording can be played, too.

    Its time begins with the first output.
    """

    def __init__(
        self, path: Path, width: int, height: int, title: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Raise BadUsageError if the file cannot be written."""
        try:
            self._file = os.fdopen(files.open_to_replace(path, _RECORDING), "w", encoding="utf-8", newline="\n")
        except OSError as error:
            raise BadUsageError(
                f"{path} cannot be written.", str(error.strerror), "valerix demo --record demo.cast"
            ) from error
        self._clock = clock
        self._began: float | None = None
        header = {"version": _VERSION, "width": width, "height": height, "timestamp": int(time.time()), "title": title}
        self._write(header | {"env": {"TERM": "xterm-256color", "SHELL": "/bin/sh"}})

    def output(self, text: str) -> None:
        self._event("o", text)

    def resized(self, width: int, height: int) -> None:
        self._event("r", f"{width}x{height}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def _event(self, kind: str, text: str) -> None:
        now = self._clock()
        if self._began is None:
            self._began = now
        self._write([round(now - self._began, 6), kind, text])

    def _write(self, value: object) -> None:
        self._file.write(json.dumps(value, ensure_ascii=False) + "\n")
        self._file.flush()
