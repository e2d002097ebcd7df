"""The terminal of `top`: its keyboard may send invalid UTF-8, and it may disappear."""

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

    Once nothing can be drawn any more, it ends the screen with 129. Textual's thread that draws would end alone, and
    all else wait for it.
    """

    def __init__(self, app: Any, **settings: Any) -> None:
        super().__init__(app, **settings)
        loop = asyncio.get_running_loop()
        self._file: Any = TerminalStream(
            self._file, lambda: loop.call_soon_threadsafe(app.exit, None, ExitCode.HUNG_UP)
        )

    def run_input_thread(self) -> None:
        vars(linux_driver)["getincrementaldecoder"] = lenient  # it offers no other way to choose one
        super().run_input_thread()


def lenient(encoding: str) -> Callable[[], codecs.IncrementalDecoder]:
    """A decoder that leaves out what it cannot decode, and nothing of what comes with it."""
    return partial(codecs.getincrementaldecoder(encoding), "ignore")
