"""Publishes the page's changes as Server-Sent Events, one stream for all browsers.

The page consists of panels, each rendered once for all. Ticks are numbered; a panel records the tick that changed it
last. A client sends its Last-Event-ID and receives every panel changed since; initial snapshot, delta and reconnect use
the same code.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Mapping
from datetime import datetime

import msgspec

MAX_POINTS = 300
"""Chart points that are kept: five minutes at one per second."""
HEARTBEAT_INTERVAL = 10.0  # seconds without an event until a comment keeps the connection alive
RETRY_MS = 1000  # a browser reconnects after this time

Point = tuple[float | None, ...]


class Update(msgspec.Struct, frozen=True):
    """One event: the changed panels as HTML, and the new chart points.

    `whole` means a full snapshot: charts are reset.
    """

    at: datetime
    whole: bool
    panels: Mapping[str, str]
    points: list[Point]


class EventStream:
    """The stream of one process. `epoch` distinguishes its ticks from those of other processes."""

    def __init__(self, epoch: str | None = None) -> None:
        self._epoch = epoch or secrets.token_hex(4)
        self._tick = 0
        self._published_at: datetime | None = None
        self._panels: dict[str, tuple[int, str]] = {}
        self._points: deque[tuple[int, Point]] = deque(maxlen=MAX_POINTS)
        self._encoded: dict[int, bytes] = {}
        self._next = asyncio.Event()
        self._closed = False
        self._subscribers = 0

    @property
    def subscribers(self) -> int:
        """The number of connected browsers."""
        return self._subscribers

    @property
    def last(self) -> str:
        """The id of the last tick."""
        return f"{self._epoch}-{self._tick}"

    def panel(self, name: str) -> str:
        """Return a panel's current HTML; empty before the first tick."""
        return self._panels.get(name, (0, ""))[1]

    def publish(self, at: datetime, panels: Mapping[str, str], point: Point) -> None:
        """Publish changed panels and a chart point."""
        self._tick += 1
        self._published_at = at
        self._points.append((self._tick, point))
        for name, html in panels.items():
            if self.panel(name) != html:
                self._panels[name] = (self._tick, html)
        self._wake()

    def publish_panels(self, at: datetime, panels: Mapping[str, str]) -> None:
        """Publish panels without a chart point."""
        self._tick += 1
        self._published_at = at
        self._panels |= {name: (self._tick, html) for name, html in panels.items()}
        self._wake()

    def close(self) -> None:
        """End all streams; browsers reconnect to another process."""
        self._closed = True
        self._wake()

    async def subscribe(self, last_event_id: str | None) -> AsyncIterator[bytes]:
        """Yield everything that has changed since `last_event_id`, and then each change."""
        self._subscribers += 1
        try:
            tick = self._tick_of(last_event_id)
            yield f"retry: {RETRY_MS}\n\n".encode()
            while not self._closed:
                next_tick = self._next
                if tick != self._tick:
                    event, tick = self._event_since(tick), self._tick
                    yield event
                try:
                    async with asyncio.timeout(HEARTBEAT_INTERVAL):
                        await next_tick.wait()
                except TimeoutError:
                    yield b": heartbeat\n\n"
        finally:
            self._subscribers -= 1

    def _wake(self) -> None:
        self._encoded.clear()
        self._next.set()
        self._next = asyncio.Event()

    def _tick_of(self, last_event_id: str | None) -> int:
        """Return the last tick received; 0 if it is unknown or from another process."""
        epoch, _, tick = (last_event_id or "").partition("-")
        return int(tick) if epoch == self._epoch and tick.isdecimal() and int(tick) <= self._tick else 0

    def _event_since(self, tick: int) -> bytes:
        """Return the event since a tick, encoded once for all browsers."""
        if tick not in self._encoded:
            is_incomplete = len(self._points) == MAX_POINTS and tick < self._points[0][0]
            whole = tick == 0 or is_incomplete
            update = Update(
                self._published_at,  # type: ignore[arg-type]  # there was a tick
                whole,
                {name: html for name, (changed, html) in self._panels.items() if changed > tick},
                [point for at, point in self._points if at > tick],
            )
            kind = "snapshot" if whole else "delta"
            self._encoded[tick] = b"event: %s\nid: %s\ndata: %s\n\n" % (
                kind.encode(),
                self.last.encode(),
                msgspec.json.encode(update),
            )
        return self._encoded[tick]
