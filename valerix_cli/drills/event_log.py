"""The events of a run, reported as they happen and kept for the receipt."""

from collections.abc import Callable

from valerix_cli.drills.receipt import Event


class EventLog:
    """Keeps events with their time and passes each on as a line. `clock` returns seconds since the load began."""

    def __init__(self, clock: Callable[[], float], print_line: Callable[[str], None]) -> None:
        self.events: list[Event] = []
        self._clock, self._print_line = clock, print_line

    def add(self, event: str) -> None:
        at = max(0.0, self._clock())
        self.events.append(Event(round(at, 2), event))
        self.show(at, event)

    def show(self, at: float, line: str) -> None:
        """Pass a line on without keeping it."""
        self._print_line(f"{at:6.1f} s  {line}")
