"""Textual's driver for a terminal that may send invalid UTF-8, and may be closed."""

import asyncio
import codecs
from collections.abc import Callable
from functools import partial
from typing import Any

from textual.drivers import linux_driver

from valerix_cli.errors import ExitCode
from valerix_cli.streams import TerminalStream


class Driver(linux_driver.LinuxDriver):
    """Textual's driver, which skips bytes that are not UTF-8: those of a terminal in Latin-1, or of an old mouse mode.

    Exits with 129 once the terminal is closed: otherwise only Textual's writer thread would end, and all other threads
    would wait for it.
    """

    def __init__(self, app: Any, **settings: Any) -> None:
        super().__init__(app, **settings)
        loop = asyncio.get_running_loop()
        self._file: Any = TerminalStream(
            self._file, lambda: loop.call_soon_threadsafe(app.exit, None, ExitCode.HUNG_UP)
        )

    def run_input_thread(self) -> None:
        vars(linux_driver)["getincrementaldecoder"] = lenient  # the only way to choose another one
        super().run_input_thread()


def lenient(encoding: str) -> Callable[[], codecs.IncrementalDecoder]:
    """Return a decoder that skips only the bytes that it cannot decode."""
    return partial(codecs.getincrementaldecoder(encoding), "ignore")
