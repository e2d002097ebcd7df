"""What changes on the page, as one stream of Server-Sent Events for everybody.

The page consists of panels, rendered once however many watch. Each tick has a number; a panel remembers the tick that
changed it last, a chart its last points. So whoever says which tick was heard last is told all that has changed since,
once: a snapshot, a delta and what follows a broken connection are the same thing.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Mapping
from datetime import datetime

import msgspec

KEPT = 300
"""Points of the charts: five minutes, at a look a second."""
HEARTBEAT = 10.0  # seconds of silence before a comment says that the line is alive
RETRY = 1000  # milliseconds before a browser connects again by itself

Point = tuple[float | None, ...]


class Update(msgspec.Struct, frozen=True):
    """One message: each panel that has changed, as HTML, and the points that are new.

    `whole` says that this is all there is: charts begin anew.
    """

    at: datetime
    whole: bool
    panels: Mapping[str, str]
    points: list[Point]


class Feed:
    """`epoch` tells this process's ticks from those of another, which a browser may have heard before."""

    def __init__(self, epoch: str | None = None) -> None:
        self._epoch = epoch or secrets.token_hex(4)
        self._tick = 0
        self._at: datetime | None = None
        self._panels: dict[str, tuple[int, str]] = {}
        self._points: deque[tuple[int, Point]] = deque(maxlen=KEPT)
        self._told: dict[int, bytes] = {}
        self._next = asyncio.Event()
        self._closed = False
        self._watching = 0

    @property
    def watching(self) -> int:
        """How many follow."""
        return self._watching

    @property
    def last(self) -> str:
        """The id of the last tick."""
        return f"{self._epoch}-{self._tick}"

    def panel(self, name: str) -> str:
        """What a panel shows now; nothing before the first tick."""
        return self._panels.get(name, (0, ""))[1]

    def publish(self, at: datetime, panels: Mapping[str, str], point: Point) -> None:
        """Tell everybody what is new at this tick."""
        self._tick += 1
        self._at = at
        self._points.append((self._tick, point))
        for name, html in panels.items():
            if self.panel(name) != html:
                self._panels[name] = (self._tick, html)
        self._wake()

    def amend(self, at: datetime, panels: Mapping[str, str]) -> None:
        """Tell everybody of panels between two looks, without a point for the charts."""
        self._tick += 1
        self._at = at
        self._panels |= {name: (self._tick, html) for name, html in panels.items()}
        self._wake()

    def close(self) -> None:
        """End what everybody follows: they will find another process."""
        self._closed = True
        self._wake()

    async def follow(self, heard: str | None) -> AsyncIterator[bytes]:
        """All that has changed since `heard`, the id of a tick, and then whatever changes."""
        self._watching += 1
        try:
            tick = self._known(heard)
            yield f"retry: {RETRY}\n\n".encode()
            while not self._closed:
                coming = self._next
                if tick != self._tick:
                    told, tick = self._since(tick), self._tick
                    yield told
                try:
                    async with asyncio.timeout(HEARTBEAT):
                        await coming.wait()
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            self._watching -= 1

    def _wake(self) -> None:
        self._told.clear()
        self._next.set()
        self._next = asyncio.Event()

    def _known(self, heard: str | None) -> int:
        """The tick that was heard last; 0, before all, where that was another process's or is no tick at all."""
        epoch, _, tick = (heard or "").partition("-")
        return int(tick) if epoch == self._epoch and tick.isdecimal() and int(tick) <= self._tick else 0

    def _since(self, tick: int) -> bytes:
        """One message, made once for all who heard the same."""
        if tick not in self._told:
            forgotten = len(self._points) == KEPT and tick < self._points[0][0]
            whole = tick == 0 or forgotten
            update = Update(
                self._at,  # type: ignore[arg-type]  # there was a tick
                whole,
                {name: html for name, (changed, html) in self._panels.items() if changed > tick},
                [point for at, point in self._points if at > tick],
            )
            kind = "snapshot" if whole else "delta"
            self._told[tick] = b"event: %s\nid: %s\ndata: %s\n\n" % (
                kind.encode(),
                self.last.encode(),
                msgspec.json.encode(update),
            )
        return self._told[tick]
