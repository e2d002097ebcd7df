"""HTTP client of the other services, with the operator token and failover between replicas."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias, TypeVar

import aiohttp
import msgspec
from yarl import URL

from services.common.http_client import CONNECT_ERRORS, REQUEST_ERRORS, declared_errors
from services.frontend.wire import Problem

T = TypeVar("T")

REQUEST_TIMEOUT = 2.0  # seconds
DNS_REFRESH_INTERVAL, DNS_TIMEOUT = 5.0, 0.5  # seconds
ACTION_TIMEOUT = 10.0  # seconds for an operator's action; longer than an order can take


DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # raised by decoding arbitrary bytes


class NoResponse(Exception):  # noqa: N818 - named for the reason, like all refusals
    """A service gave no usable response. The message is shown to users."""


class Refused(Exception):  # noqa: N818 - the same
    """A service responded with a problem document."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class ServiceResponse(msgspec.Struct, frozen=True):
    """A complete response and the time it took."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    milliseconds: float


async def resolve(host: str) -> list[str]:
    """Return the IPv4 addresses of a host name, else its IPv6 addresses. Raises OSError or TimeoutError."""
    async with asyncio.timeout(DNS_TIMEOUT):
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    by_family: dict[int, list[str]] = {}
    for family, _, _, _, address in found:
        by_family.setdefault(family, []).append(str(address[0]))
    return by_family.get(socket.AF_INET) or by_family.get(socket.AF_INET6, [])


Resolve: TypeAlias = Callable[[str], Awaitable[list[str]]]


class Backend:
    """One service with its replicas. `name` is shown to users."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        name: str,
        urls: tuple[str, ...],
        token: str,
        resolve: Resolve = resolve,
    ) -> None:
        self.name = name
        self.urls = self._configured_urls = tuple(url.rstrip("/") for url in urls)
        self._resolve, self._resolved_at = resolve, 0.0
        self._session = session
        self._headers = {"Authorization": f"Bearer {token}"}
        self._first = 0  # index of the replica that responded last

    async def find_replicas(self) -> None:
        """Resolve host names again, every few seconds: each address of a name is a replica.

        In a cluster, replicas come and go. If a lookup fails, the previous replicas are kept.
        """
        now = time.monotonic()
        if now - self._resolved_at < DNS_REFRESH_INTERVAL:
            return
        self._resolved_at = now
        try:
            found = await asyncio.gather(*(self._replicas_at(URL(url)) for url in self._configured_urls))
        except (OSError, TimeoutError):
            return
        self.urls = tuple(url for urls in found for url in urls)

    async def _replicas_at(self, url: URL) -> list[str]:
        if url.scheme != "http" or url.host is None:  # certificates are issued for names, not addresses
            return [str(url).rstrip("/")]
        addresses = sorted(set(await self._resolve(url.host)))
        if len(addresses) < 2:  # noqa: PLR2004 - one is the name itself
            return [str(url).rstrip("/")]
        return [str(url.with_host(address)).rstrip("/") for address in addresses]

    async def get(self, path: str, kind: type[T]) -> T:
        """GET from one replica and decode the body. Raises NoResponse or Refused."""
        return decode(await self.request("GET", path), kind)

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        limit: float = REQUEST_TIMEOUT,
    ) -> ServiceResponse:
        """Send a request to the last replica that responded, or the next if unreachable. Raises NoResponse."""
        urls = self.urls  # may be replaced during the request
        order = [(self._first + step) % len(urls) for step in range(len(urls))]
        for index in order:
            try:
                answer = await self.request_replica(urls[index], method, path, json=json, headers=headers, limit=limit)
            except NoResponse as error:
                self._first = (index + 1) % len(urls)  # a frozen replica is not tried first again
                if index == order[-1] or not isinstance(error.__cause__, CONNECT_ERRORS):
                    raise
            else:
                self._first = index
                return answer
        raise AssertionError("the last replica responds or raises")

    async def request_replica(
        self,
        url: str,
        method: str,
        path: str,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        limit: float = REQUEST_TIMEOUT,
    ) -> ServiceResponse:
        """Send a request to one replica. Raises NoResponse."""
        sent = {**self._headers, **(headers or {})}
        started = time.perf_counter()
        try:
            with declared_errors(self.name):
                async with (
                    asyncio.timeout(limit),
                    self._session.request(
                        method, url + path, json=json, headers=sent, allow_redirects=False
                    ) as response,
                ):
                    content = await response.read()
        except REQUEST_ERRORS as error:
            raise NoResponse(f"{self.name}: {_describe_error(error, limit)}") from error
        return ServiceResponse(response.status, response.headers, content, (time.perf_counter() - started) * 1000)


def decode(answer: ServiceResponse, kind: type[T]) -> T:
    """Decode a response. Raises Refused for a problem document, NoResponse if the body cannot be decoded."""
    try:
        if answer.status >= 400:  # noqa: PLR2004 - HTTP's errors
            raise Refused(msgspec.json.decode(answer.content, type=Problem))
        return msgspec.json.decode(answer.content, type=kind)
    except DECODE_ERRORS as error:
        raise NoResponse(f"the response with status {answer.status} is invalid") from error


def _describe_error(error: BaseException, limit: float) -> str:
    match error:
        case aiohttp.ClientConnectorError():
            return "connection refused"
        case TimeoutError():
            return f"no response within {limit:g} s"
        case _:
            return "the connection closed before a response"
