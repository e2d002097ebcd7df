"""HTTP requests to the replicas of inventory: round-robin, with failover if a replica cannot be reached.

Raises one of `services.common.http_client.REQUEST_ERRORS`.
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

from services.common.http_client import CONNECT_ERRORS, declared_errors

LOOKUP_TIMEOUT = 1.0  # seconds
AVOID_SECONDS = 5.0  # a replica that let a timeout expire is tried last for this long
MAX_LINE_BYTES = 64 * 1024  # a longer response line ends the call


class Response(msgspec.Struct, frozen=True):
    status: int
    content: bytes

    @property
    def is_success(self) -> bool:
        return _is_success(self.status)


class _Replica(msgspec.Struct):
    url: str
    deductions: URL
    avoid_until: float = 0.0  # monotonic time until which other replicas are tried first


class ReplicaPool:
    """Replicas of one service. `limit` is the timeout of a deduction in seconds, which the caller enforces."""

    def __init__(self, session: aiohttp.ClientSession, urls: tuple[str, ...], token: str, limit: float) -> None:
        self._session = session
        bases = [url.rstrip("/") for url in urls]
        replicas = [_Replica(base, URL(f"{base}/api/inventory/deductions")) for base in bases]
        self._turns = itertools.cycle([replicas[first:] + replicas[:first] for first in range(len(replicas))])
        self._any_avoided = False  # a replica is avoided, or was until recently
        self._headers = {"Authorization": f"Bearer {token}"}
        # Connecting times out well before the limit, so that the next replica still has time.
        self._connect_timeout = aiohttp.ClientTimeout(connect=limit / 3)
        self._lookup_timeout = aiohttp.ClientTimeout(connect=LOOKUP_TIMEOUT / 3)
        self._readers: dict[asyncio.Future[None], aiohttp.StreamReader] = {}  # the last reader of each connection

    async def get(self, path: str) -> Response:
        """GET from one replica, or the next if it cannot be reached; at most LOOKUP_TIMEOUT in total."""
        *others, last = self._next_order()
        async with asyncio.timeout(LOOKUP_TIMEOUT):
            for replica in others:
                try:
                    return await self._get(replica, path)
                except CONNECT_ERRORS:
                    continue
            return await self._get(last, path)

    async def deduct(self, lines: bytes, headers: Mapping[str, str], on_line: Callable[[bytes], None]) -> int | None:
        """Send NDJSON to one replica, or the next; calls `on_line` with each response line as it arrives.

        Returns the status of a response that is not successful, else None. A line over MAX_LINE_BYTES ends the call.
        """
        headers = {**self._headers, "Content-Type": "application/x-ndjson", **headers}
        *others, last = self._next_order()
        for replica in others:
            try:
                return await self._post(replica, lines, headers, on_line)
            except CONNECT_ERRORS:  # nothing was sent, so the next replica can be tried
                continue
        return await self._post(last, lines, headers, on_line)

    async def _get(self, replica: _Replica, path: str) -> Response:
        with declared_errors("inventory"), self._avoid_on_timeout(replica):
            async with self._session.get(
                replica.url + path, headers=self._headers, timeout=self._lookup_timeout, allow_redirects=False
            ) as response:
                return Response(response.status, await response.read())

    async def _post(
        self, replica: _Replica, lines: bytes, headers: Mapping[str, str], on_line: Callable[[bytes], None]
    ) -> int | None:
        with self._avoid_on_timeout(replica):
            response = await self._session.post(
                replica.deductions, data=lines, headers=headers, timeout=self._connect_timeout, allow_redirects=False
            )
        async with response:
            if not _is_success(response.status):
                return response.status
            self._fail_reader_on_close(response)
            rest = b""
            async for chunk in response.content.iter_any():  # reading by lines takes four times as long
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    on_line(line)
                if len(rest) > MAX_LINE_BYTES:
                    return None
            if rest:
                on_line(rest)
            return None

    def _next_order(self) -> list[_Replica]:
        """Return the replicas in the order in which to try them."""
        replicas = next(self._turns)
        if not self._any_avoided:
            return replicas
        now = time.monotonic()
        self._any_avoided = any(replica.avoid_until > now for replica in replicas)
        return sorted(replicas, key=lambda replica: replica.avoid_until > now)

    @contextlib.contextmanager
    def _avoid_on_timeout(self, replica: _Replica) -> Iterator[None]:
        """Avoid a replica for a while if the caller's timeout cancels the block."""
        try:
            yield
        except asyncio.CancelledError:
            replica.avoid_until, self._any_avoided = time.monotonic() + AVOID_SECONDS, True
            raise

    def _fail_reader_on_close(self, response: aiohttp.ClientResponse) -> None:
        """Raise in the reader of `response` as soon as its connection is closed.

        aiohttp 3.14 closes the connection if the rest of a response is not HTTP, and leaves the reader waiting.
        """
        protocol = None if response.connection is None else response.connection.protocol
        closed = None if protocol is None else protocol.closed
        if closed is None:  # the response is complete
            return

        def fail_reader(closed: "asyncio.Future[None]") -> None:
            closed.exception()  # marks it as retrieved, so that it is not logged
            content = self._readers.pop(closed)
            if not content.is_eof() and content.exception() is None:
                content.set_exception(aiohttp.ClientPayloadError("the connection is closed"))

        if closed not in self._readers:  # the connection may have been used before
            closed.add_done_callback(fail_reader)
        self._readers[closed] = response.content


def _is_success(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
