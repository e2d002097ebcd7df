"""HTTP to the replicas of inventory: in turns, passing over those that cannot be reached.

What goes wrong is one of `services.common.http.FAILURES`.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus

import aiohttp
import msgspec
from yarl import URL

from services.common.http import UNREACHED, declared

LOOKUP_LIMIT = 1.0  # seconds
SILENT_FOR = 5.0  # seconds that a replica is asked last after it has let a time limit pass without a word
LINE_LIMIT = 64 * 1024  # bytes: of a line that has no end we keep no more


class Response(msgspec.Struct, frozen=True):
    status: int
    content: bytes

    @property
    def is_success(self) -> bool:
        return _is_success(self.status)


class _Replica(msgspec.Struct):
    url: str
    deductions: URL
    silent_until: float = 0.0  # by the monotonic clock: until then the others are asked first


class Replicas:
    """`limit` is the time that a deduction may take, in seconds, which whoever asks for one sees to."""

    def __init__(self, session: aiohttp.ClientSession, urls: tuple[str, ...], token: str, limit: float) -> None:
        self._session = session
        bases = [url.rstrip("/") for url in urls]
        replicas = [_Replica(base, URL(f"{base}/api/inventory/deductions")) for base in bases]
        self._turns = itertools.cycle([replicas[first:] + replicas[:first] for first in range(len(replicas))])
        self._silent = False  # whether any replica is, or was lately
        self._headers = {"Authorization": f"Bearer {token}"}
        # Reaching a replica ends well before the limit, so that the next one still has time.
        self._reach = aiohttp.ClientTimeout(connect=limit / 3)
        self._lookup_reach = aiohttp.ClientTimeout(connect=LOOKUP_LIMIT / 3)
        self._reading: dict[asyncio.Future[None], aiohttp.StreamReader] = {}  # what was read last, by its connection

    async def get(self, path: str) -> Response:
        """Ask one replica, and the next when that one cannot be reached; `LOOKUP_LIMIT` in all."""
        *others, last = self._turn()
        async with asyncio.timeout(LOOKUP_LIMIT):
            for replica in others:
                try:
                    return await self._get(replica, path)
                except UNREACHED:
                    continue
            return await self._get(last, path)

    async def deduct(self, lines: bytes, headers: Mapping[str, str], take: Callable[[bytes], None]) -> int | None:
        """Send NDJSON to one replica, or the next; have each line of the answer taken as it arrives.

        Returns the status of an answer that is none to the lines. A line that is too long ends it.
        """
        headers = {**self._headers, "Content-Type": "application/x-ndjson", **headers}
        *others, last = self._turn()
        for replica in others:
            try:
                return await self._post(replica, lines, headers, take)
            except UNREACHED:  # so nothing was sent: the next replica may have it
                continue
        return await self._post(last, lines, headers, take)

    async def _get(self, replica: _Replica, path: str) -> Response:
        with declared("inventory"), self._noticing_silence(replica):
            async with self._session.get(
                replica.url + path, headers=self._headers, timeout=self._lookup_reach, allow_redirects=False
            ) as response:
                return Response(response.status, await response.read())

    async def _post(
        self, replica: _Replica, lines: bytes, headers: Mapping[str, str], take: Callable[[bytes], None]
    ) -> int | None:
        with self._noticing_silence(replica):
            response = await self._session.post(
                replica.deductions, data=lines, headers=headers, timeout=self._reach, allow_redirects=False
            )
        async with response:
            if not _is_success(response.status):
                return response.status
            self._tell_when_closed(response)
            rest = b""
            async for piece in response.content.iter_any():  # by lines it would take four times as long
                *whole, rest = (rest + piece).split(b"\n")
                for text in whole:
                    take(text)
                if len(rest) > LINE_LIMIT:
                    return None
            if rest:
                take(rest)
            return None

    def _turn(self) -> list[_Replica]:
        """The replicas in the order in which to ask them."""
        replicas = next(self._turns)
        if not self._silent:
            return replicas
        now = time.monotonic()
        self._silent = any(replica.silent_until > now for replica in replicas)
        return sorted(replicas, key=lambda replica: replica.silent_until > now)

    @contextlib.contextmanager
    def _noticing_silence(self, replica: _Replica) -> Iterator[None]:
        """Remember a replica that says nothing until the caller's time limit ends the block."""
        try:
            yield
        except asyncio.CancelledError:
            replica.silent_until, self._silent = time.monotonic() + SILENT_FOR, True
            raise

    def _tell_when_closed(self, response: aiohttp.ClientResponse) -> None:
        """Let whoever reads `response` hear at once that its connection is closed.

        aiohttp (3.14) closes it when the rest of an answer is not HTTP, and leaves its reader waiting.
        """
        protocol = None if response.connection is None else response.connection.protocol
        closed = None if protocol is None else protocol.closed
        if closed is None:  # all of the answer is here
            return

        def tell(closed: "asyncio.Future[None]") -> None:
            closed.exception()  # else it would be logged as never retrieved
            content = self._reading.pop(closed)
            if not content.is_eof() and content.exception() is None:
                content.set_exception(aiohttp.ClientPayloadError("the connection is closed"))

        if closed not in self._reading:  # it is the connection's, which has answered others before
            closed.add_done_callback(tell)
        self._reading[closed] = response.content


def _is_success(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
