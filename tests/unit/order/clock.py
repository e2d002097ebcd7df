"""A monotonic clock that goes on when told to."""


class Clock:
    """Counts in 1024ths of a second, which floats hold exactly, so that no test hangs on a rounding."""

    def __init__(self, start: int = 0) -> None:
        self.ticks = start

    def __call__(self) -> float:
        return self.ticks / 1024

    def go_on(self, seconds: float) -> None:
        self.ticks += round(seconds * 1024)
