"""A monotonic clock that a test advances."""


class Clock:
    """Counts in 1024ths of a second, which floats represent exactly, so that no test depends on rounding."""

    def __init__(self, start: int = 0) -> None:
        self.ticks = start

    def __call__(self) -> float:
        return self.ticks / 1024

    def go_on(self, seconds: float) -> None:
        self.ticks += round(seconds * 1024)
