"""Clients that repeat an order under the same key until they know its result, and record everything in a journal."""

import asyncio
import itertools
import ssl
from collections.abc import Sequence
from typing import Any

import httpx
import msgspec

from tests.faults.scenarios import Request
from valerix_cli.journal import JournalWriter

PAUSE = 0.25  # seconds between a client's attempts
TRIES = 80
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # httpx would load the system's certificates for every client
FINAL_PROBLEMS = frozenset({"insufficient-stock", "idempotency-key-reused"})
PASSING_PROBLEMS = frozenset({"request-in-flight", "database-unavailable"})


class OrderResponse(msgspec.Struct, frozen=True):
    """One response to one request."""

    key: str
    quantity: int
    http_status: int
    order_id: str | None
    order_status: str | None
    problem: str | None

    @property
    def is_final(self) -> bool:
        return self.order_status is not None or self.problem in FINAL_PROBLEMS

    @property
    def is_strange(self) -> bool:
        """True if no client should ever get this response."""
        return not self.is_final and self.problem not in PASSING_PROBLEMS


class Customers:
    """The clients that order one item from `urls`, the first URL first. `received` grows as responses arrive."""

    def __init__(self, urls: Sequence[str], item_id: str, patience: float, journal: JournalWriter) -> None:
        self._urls, self._item_id, self._patience, self._journal = urls, item_id, patience, journal
        self._enough = False
        self.received: list[OrderResponse] = []
        self.sent = 0
        self.unanswered = 0

    def go_home(self) -> None:
        """Stop repeating requests."""
        self._enough = True

    def buy(self, requests: Sequence[Request], concurrency: int) -> None:
        """Send all requests, `concurrency` at a time; return when each has a response or its client has given up."""
        asyncio.run(self._buy(requests, concurrency))

    async def _buy(self, requests: Sequence[Request], concurrency: int) -> None:
        turn = asyncio.Semaphore(concurrency)
        limits = httpx.Limits(max_connections=concurrency)
        async with httpx.AsyncClient(timeout=self._patience, limits=limits, trust_env=False, verify=NO_TLS) as client:

            async def in_turn(request: Request) -> None:
                async with turn:
                    await self._insist(client, request)

            async with asyncio.TaskGroup() as group:
                for request in requests:
                    group.create_task(in_turn(request))

    async def _insist(self, client: httpx.AsyncClient, request: Request) -> None:
        for url in itertools.islice(itertools.cycle(self._urls), TRIES):
            response = await self._try(client, url, request)
            if self._enough or (response is not None and (response.is_final or response.is_strange)):
                return
            await asyncio.sleep(PAUSE)

    async def _try(self, client: httpx.AsyncClient, url: str, request: Request) -> OrderResponse | None:
        body = {"item_id": self._item_id, "quantity": request.quantity}
        entry = self._journal.sent(request.key, self._item_id, request.quantity)
        self.sent += 1
        try:
            answer = await client.post(f"{url}/api/orders", json=body, headers={"Idempotency-Key": request.key})
        except httpx.TransportError as error:
            self._journal.unknown(entry, repr(error))
            self.unanswered += 1
            return None
        response = _read(request, answer)
        self._journal.answered(
            entry,
            response.http_status,
            response.order_id,
            response.order_status,
            response.problem,
            replayed=answer.headers.get("Idempotent-Replayed") == "true",
        )
        self.received.append(response)
        return response


def _read(request: Request, answer: httpx.Response) -> OrderResponse:
    try:
        body: dict[str, Any] = answer.json()
    except ValueError:
        body = {}
    problem = None if answer.is_success else str(body.get("type", "")).rpartition(":")[2] or "none"
    return OrderResponse(
        key=request.key,
        quantity=request.quantity,
        http_status=answer.status_code,
        order_id=body.get("order_id"),
        order_status=body.get("status") if answer.is_success else None,
        problem=problem,
    )
