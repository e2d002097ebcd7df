"""Limits the number of client connections and the time that each may take.

There is no timer per connection: a sweep twice a second finds those that have not changed. A limit therefore ends a
connection up to a second late, never early, and time in which the process was stopped does not count.
"""

import asyncio
import errno
import os
import resource

import structlog
from prometheus_client import Counter, Gauge

from services.common import messages
from services.common.http_protocol import HttpProtocol
from services.common.messages import RequestTimeout, TooManyConnections

log = structlog.get_logger()

OPEN = Gauge("http_connections_open", "Connections that clients have to this process")
REFUSED = Counter("http_connections_refused", "Connections that were in excess of the limit", ["reason"])
TIMEOUTS = Counter("http_timeouts", "Connections ended because the client took too long", ["kind"])

SWEEP_EVERY = 0.5  # seconds
LIMITS = {
    "head": 10.0,  # seconds, from the first byte, or from the connection before it
    "body": 30.0,  # without a byte of it
    "idle": 75.0,  # between two requests: longer than our clients keep idle connections
    "write": 30.0,  # without the client reading any of a response
    "drain": 10.0,  # for the rest of a body after its response
    "linger": 2.0,  # for the client to read the last response and close
}
SPARE = 64  # connections above the limit, for health and metrics only
SILENCE = 0.25  # seconds in which a new connection is not closed in favour of another, even if silent
RESERVE = 200  # descriptors for everything but connections
LOG_EVERY = 1.0  # seconds
ALWAYS = (b"/health", b"/metrics")  # served on spare connections


def allowed(requested: int) -> int:
    """Return how many connections this process may have: `requested`, or fewer if RLIMIT_NOFILE requires that.

    The soft limit is raised if necessary, up to the hard limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < requested + RESERVE:
        soft = min(requested + RESERVE, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    limit = min(requested, max(soft - RESERVE, soft // 4))
    if limit < requested:
        log.warning("fewer connections than asked for", why=f"RLIMIT_NOFILE is {soft}", limit=limit)
    return limit


class ClientConnections:
    """Admits at most `limit` connections; for one more, a silent or idle one is closed.

    Up to `SPARE` more are read up to their first head: health and metrics are served, everything else gets a 503.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._open: set[HttpProtocol] = set()
        self._silent: dict[HttpProtocol, float] = {}  # by the time of connecting, the oldest first
        self._idle: list[HttpProtocol] = []  # at the latest sweep, the longest idle last
        self._refused = 0  # time of the last log line
        self._logged = 0.0
        self._swept: float | None = None
        OPEN.set_function(lambda: len(self._open))

    def admit(self, new: HttpProtocol) -> None:
        """Admit or refuse a new connection."""
        if len(self._open) >= self.limit + SPARE and not self._make_room():
            self._refuse(new)
            return
        new.is_spare = len(self._open) >= self.limit
        self._open.add(new)
        self._silent[new] = new.loop.time()

    def on_first_head(self, connection: HttpProtocol) -> None:
        """Record that the head of a connection's first request is complete. Raises TooManyConnections if it is full."""
        self._silent.pop(connection, None)
        connection.is_silent = False
        if connection.is_spare and (len(self._open) <= self.limit or self._make_room()):
            connection.is_spare = False
        if connection.is_spare and not connection.url.startswith(ALWAYS):
            self._count("limit")
            raise TooManyConnections("Try again in a moment", retry_after=1)

    def forget(self, gone: HttpProtocol) -> None:
        self._open.discard(gone)
        self._silent.pop(gone, None)

    async def watch(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            self.sweep(asyncio.get_running_loop().time())

    def sweep(self, now: float) -> None:
        """Close connections over a time limit. Call it every `SWEEP_EVERY` seconds; `now` is the loop's time."""
        passed = min(now - (self._swept or now), 2 * SWEEP_EVERY)  # longer: this process was stopped
        self._swept = now
        idle = []
        for one in list(self._open):
            state = _state(one)
            if state != one.last_state:
                one.last_state, one.waited = state, 0.0
                continue
            one.waited += passed
            kind = str(state[0])
            if one.waited >= LIMITS.get(kind, float("inf")):
                _time_out(one, kind)
            elif kind == "idle":
                idle.append(one)
        self._idle = sorted(idle, key=lambda one: one.waited)
        if now - self._logged >= LOG_EVERY:
            self._log(now)

    def _make_room(self) -> bool:
        """Close the oldest silent connection, else the longest idle one. Returns False if there is neither."""
        oldest = next(iter(self._silent), None)
        if oldest is not None and oldest.loop.time() - self._silent[oldest] >= SILENCE:
            self._evict(oldest, "silent")
            return True
        while self._idle:
            one = self._idle.pop()
            if one in self._open and _state(one) == one.last_state:
                self._evict(one, "idle")
                return True
        return False

    def _evict(self, one: HttpProtocol, reason: str) -> None:
        self.forget(one)  # now, not once it is closed: more may arrive in the same iteration of the event loop
        self._count(reason)
        one.transport.close()

    def _refuse(self, new: HttpProtocol) -> None:
        self._count("limit")
        new.is_ending = True
        refusal = TooManyConnections("Try again in a moment", retry_after=1)
        new.transport.write(messages.answer(refusal, new.server_state.default_headers))
        new.transport.close()

    def _count(self, reason: str) -> None:
        REFUSED.labels(reason).inc()
        self._refused += 1

    def _log(self, now: float) -> None:
        if not _has_descriptors():
            self._logged = now
            REFUSED.labels("descriptors").inc()
            log.error("no file descriptor left, new connections are closed", connections=len(self._open))
            self._make_room()
        if self._refused:
            self._logged = now
            log.warning("connections refused", refused=self._refused, connections=len(self._open), limit=self.limit)
            self._refused = 0


def _state(one: HttpProtocol) -> tuple[str | int, ...]:
    """Return the step that the client has to take next, with values that change when it makes progress."""
    if one.is_lingering:
        return ("linger",)
    if unsent := one.transport.get_write_buffer_size():
        return ("write", unsent, one.heads)
    if one.is_ending or one.flow.read_paused:
        return ("answer",)
    if one.in_head or one.is_silent:
        return ("head", one.heads)
    if one.in_body:
        return ("drain", one.heads) if one.is_idle else ("body", one.received)
    return ("idle", one.heads) if one.is_idle else ("answer",)


def _time_out(one: HttpProtocol, kind: str) -> None:
    TIMEOUTS.labels(kind).inc()
    if kind == "body" or (kind == "head" and one.in_head):
        one.refuse(RequestTimeout("The client took too long to send its request"))
    elif kind in {"write", "linger"}:
        one.transport.abort()
    else:
        one.transport.close()


def _has_descriptors() -> bool:
    """Return whether this process can open one more file. If not, libuv closes new connections silently."""
    try:
        os.close(os.open("/", os.O_RDONLY))
    except OSError as error:
        return error.errno not in {errno.EMFILE, errno.ENFILE}
    return True
