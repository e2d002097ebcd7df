"""The two services as the dashboard sees them: each behind its replicas, with the operator's token."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias, TypeVar

import aiohttp
import msgspec
from yarl import URL

from services.common.http import FAILURES, UNREACHED, declared
from services.frontend.wire import Problem

T = TypeVar("T")

LIMIT = 2.0  # seconds that a look may take
LOOK_UP_EVERY, LOOK_UP_LIMIT = 5.0, 0.5  # seconds
DEED_LIMIT = 10.0  # seconds that what an operator asks for may take: longer than an order's longest way


NONSENSE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # what decoding raises, for any bytes


class Unanswered(Exception):  # noqa: N818 - named for the reason, as the house does
    """A service gave no answer that means anything. The message is for people."""


class Refused(Exception):  # noqa: N818 - the same
    """A service said no."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class Answer(msgspec.Struct, frozen=True):
    status: int
    headers: Mapping[str, str]
    content: bytes
    milliseconds: float


async def resolve(host: str) -> list[str]:
    """The IPv4 addresses that a name stands for, else its IPv6 ones. Raises OSError, TimeoutError."""
    async with asyncio.timeout(LOOK_UP_LIMIT):
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    by_family: dict[int, list[str]] = {}
    for family, _, _, _, address in found:
        by_family.setdefault(family, []).append(str(address[0]))
    return by_family.get(socket.AF_INET) or by_family.get(socket.AF_INET6, [])


Resolve: TypeAlias = Callable[[str], Awaitable[list[str]]]


class Backend:
    """One service. `name` is what people call it."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        name: str,
        urls: tuple[str, ...],
        token: str,
        resolve: Resolve = resolve,
    ) -> None:
        self.name = name
        self.urls = self._told = tuple(url.rstrip("/") for url in urls)
        self._resolve, self._looked_up_at = resolve, 0.0
        self._session = session
        self._headers = {"Authorization": f"Bearer {token}"}
        self._first = 0  # of the replicas, the one that answered last

    async def find_replicas(self) -> None:
        """Look the replicas up, every few seconds: a name of several addresses stands for as many replicas.

        So it is in a cluster, where replicas come and go. One that cannot be looked up stands for what it did.
        """
        now = time.monotonic()
        if now - self._looked_up_at < LOOK_UP_EVERY:
            return
        self._looked_up_at = now
        try:
            found = await asyncio.gather(*(self._replicas_at(URL(url)) for url in self._told))
        except (OSError, TimeoutError):
            return
        self.urls = tuple(url for urls in found for url in urls)

    async def _replicas_at(self, url: URL) -> list[str]:
        if url.scheme != "http" or url.host is None:  # a certificate is a name's, not an address's
            return [str(url).rstrip("/")]
        addresses = sorted(set(await self._resolve(url.host)))
        if len(addresses) < 2:  # noqa: PLR2004 - one is the name itself
            return [str(url).rstrip("/")]
        return [str(url.with_host(address)).rstrip("/") for address in addresses]

    async def get(self, path: str, kind: type[T]) -> T:
        """What one replica says. Raises Unanswered or Refused."""
        return decode(await self.ask("GET", path), kind)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        limit: float = LIMIT,
    ) -> Answer:
        """Ask the replica that answered last, and the next while one cannot be reached. Raises Unanswered."""
        urls = self.urls  # it may be another one once there is an answer
        turn = [(self._first + step) % len(urls) for step in range(len(urls))]
        for index in turn:
            try:
                answer = await self.ask_one(urls[index], method, path, json=json, headers=headers, limit=limit)
            except Unanswered as error:
                self._first = (index + 1) % len(urls)  # one that is frozen is not asked first again
                if index == turn[-1] or not isinstance(error.__cause__, UNREACHED):
                    raise
            else:
                self._first = index
                return answer
        raise AssertionError("the last replica answers or raises")

    async def ask_one(
        self,
        url: str,
        method: str,
        path: str,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        limit: float = LIMIT,
    ) -> Answer:
        """Ask one replica. Raises Unanswered."""
        sent = {**self._headers, **(headers or {})}
        began = time.perf_counter()
        try:
            with declared(self.name):
                async with (
                    asyncio.timeout(limit),
                    self._session.request(
                        method, url + path, json=json, headers=sent, allow_redirects=False
                    ) as response,
                ):
                    content = await response.read()
        except FAILURES as error:
            raise Unanswered(f"{self.name}: {_told(error, limit)}") from error
        return Answer(response.status, response.headers, content, (time.perf_counter() - began) * 1000)


def decode(answer: Answer, kind: type[T]) -> T:
    """The value in an answer. Raises Refused for a problem, Unanswered for what was not understood."""
    try:
        if answer.status >= 400:  # noqa: PLR2004 - HTTP's errors
            raise Refused(msgspec.json.decode(answer.content, type=Problem))
        return msgspec.json.decode(answer.content, type=kind)
    except NONSENSE as error:
        raise Unanswered(f"answered {answer.status} in a way that was not understood") from error


def _told(error: BaseException, limit: float) -> str:
    match error:
        case aiohttp.ClientConnectorError():
            return "nobody listens"
        case TimeoutError():
            return f"no answer within {limit:g} s"
        case _:
            return "the connection broke before there was an answer"
