"""What comes from the terminal's keyboard, which may send bytes that are no UTF-8."""

import contextlib

from textual.drivers.linux_driver import LinuxDriver


class Driver(LinuxDriver):
    """Textual's, which passes over bytes that are no text: those of a terminal in Latin-1, or of an old mouse mode."""

    def run_input_thread(self) -> None:
        while not self.exit_event.is_set():
            with contextlib.suppress(UnicodeDecodeError):
                super().run_input_thread()
