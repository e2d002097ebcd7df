"""An inventory that answers as a test tells it to, behind the transport of a real client."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx

from services.order.breaker import Breaker
from services.order.domain import Claim
from services.order.inventory import Inventory

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
LIMIT = 5.0  # seconds: longer than any test, unless it is about the limit

Answer = Callable[[dict[str, Any]], dict[str, Any] | bytes | None]


class Warehouse:
    """Takes deductions line by line; `answer` says what becomes of each, None that its answer is lost.

    Lines wait until they are released, unless `patient` is false.
    """

    def __init__(
        self,
        *,
        patient: bool = False,
        urls: tuple[str, ...] = ("http://one",),
        limit: float = LIMIT,
        breaker: Breaker | None = None,
    ) -> None:
        self.batches: list[list[dict[str, Any]]] = []
        self.asked: list[str] = []
        self.headers: list[httpx.Headers] = []
        self.timeouts: list[dict[str, float]] = []
        self.away: set[str] = set()
        self.gone: Exception = httpx.ConnectError("connection refused")
        self.answer: Answer = lambda _: {"status": 200, "repeated": False}
        self.responses: dict[str, httpx.Response | Exception] = {}
        self.released: dict[str, asyncio.Event] = {}
        self._patient = patient
        self.breaker = breaker or Breaker()
        self.http = httpx.AsyncClient(transport=httpx.MockTransport(self._handle))
        self.inventory = Inventory(self.http, urls, "token-of-the-service", limit, self.breaker)

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        if f"{request.url.scheme}://{request.url.host}" in self.away:
            raise self.gone
        self.asked.append(str(request.url))
        self.headers.append(request.headers)
        self.timeouts.append(request.extensions["timeout"])
        scripted = self.responses.get(request.url.path)
        if isinstance(scripted, Exception):
            raise scripted
        if scripted is not None:
            return scripted
        lines = [json.loads(line) for line in request.content.splitlines()]
        self.batches.append(lines)
        return httpx.Response(200, content=self._answers(lines))

    async def _answers(self, lines: list[dict[str, Any]]) -> AsyncIterator[bytes]:
        if not self._patient:
            for line in lines:
                yield self._line(line)
            return
        waiting = [asyncio.create_task(self._when_released(line)) for line in lines]
        try:
            for answered in asyncio.as_completed(waiting):
                yield await answered
        finally:
            for task in waiting:
                task.cancel()

    async def _when_released(self, line: dict[str, Any]) -> bytes:
        await self.released.setdefault(line["order_id"], asyncio.Event()).wait()
        return self._line(line)

    def _line(self, line: dict[str, Any]) -> bytes:
        answer = self.answer(line)
        if answer is None:
            return b""
        if isinstance(answer, bytes):
            return answer
        return json.dumps({"order_id": line["order_id"], **answer}).encode() + b"\n"

    def release_all(self) -> None:
        """Let every line go that has come in."""
        for batch in self.batches:
            for line in batch:
                self.released.setdefault(line["order_id"], asyncio.Event()).set()

    def release(self, *claims: Claim) -> None:
        for claim in claims:
            self.released.setdefault(str(claim.order_id), asyncio.Event()).set()


def claims(count: int, *, first: int = 1) -> list[Claim]:
    return [
        Claim(uuid.UUID(int=number), "ps5", 1, "pending", 1, 1, f"key-{number}", NOON)
        for number in range(first, first + count)
    ]


async def together(deduct: Callable[[Claim], Awaitable[Any]], wanted: list[Claim]) -> list[Any]:
    return await asyncio.gather(*(deduct(claim) for claim in wanted))
