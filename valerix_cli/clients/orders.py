"""Client of the order service."""

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import msgspec

from valerix_cli.addresses import path
from valerix_cli.clients import retry
from valerix_cli.clients.http import Replicas, decode, parse, read_problem
from valerix_cli.clients.order_models import OrderRequest, OrderResponse
from valerix_cli.clients.tracing import client_span
from valerix_cli.clients.wire import Breaker, Order, OrderEvents, OrderPage, Platform, Queue, Requeued
from valerix_cli.errors import CliError, TimeoutExpiredError, UnreachableError
from valerix_cli.journal import JournalWriter

PAGE = 500
_jitter = random.Random()  # noqa: S311 - spreads retries, keeps no secret # nosec B311


class OrderClient:
    """Orders, the breaker and the queue."""

    def __init__(self, replicas: Replicas, journal: JournalWriter | None = None) -> None:
        self._replicas = replicas
        self._journal = journal

    def recorded(self, journal: JournalWriter) -> "OrderClient":
        """Return a client that also writes each request and each response to a journal."""
        return OrderClient(self._replicas, journal)

    def place(self, request: OrderRequest, *, retries: int = 0) -> OrderResponse:
        """Send an order, and retry it with the same key up to `retries` times."""
        with client_span("order place") as traceparent:
            return self._place(request, retries, traceparent)

    def _place(self, request: OrderRequest, retries: int, traceparent: str) -> OrderResponse:
        for attempt in range(1, retries + 1):
            try:
                sent = self._send(request, attempt, traceparent)
            except (UnreachableError, TimeoutExpiredError):
                retry_after = None
            else:
                problem = sent.problem
                if problem is None or not retry.is_retryable(sent.status, problem.slug):
                    return sent
                retry_after = problem.retry_after
            time.sleep(retry.delay(attempt, retry_after, _jitter))
        return self._send(request, retries + 1, traceparent)

    def _send(self, request: OrderRequest, attempt: int, traceparent: str) -> OrderResponse:
        if self._journal is None:
            return self._post_order(request, attempt, traceparent)
        entry = self._journal.sent(request.key, request.item_id, request.quantity)
        try:
            sent = self._post_order(request, attempt, traceparent)
        except CliError as error:
            self._journal.unknown(entry, str(error))
            raise
        order, problem = sent.order, sent.problem
        order_id = str(order.order_id) if order else problem.order_id if problem else None
        self._journal.answered(
            entry,
            sent.status,
            order_id,
            order.status if order else None,
            problem.slug if problem else None,
            replayed=sent.replayed,
        )
        return sent

    def _post_order(self, request: OrderRequest, attempt: int, traceparent: str) -> OrderResponse:
        sent_at, started = datetime.now(UTC), time.perf_counter()
        response = self._replicas.send(
            "POST",
            "/api/orders",
            repeatable=True,  # because of the key
            json={"item_id": request.item_id, "quantity": request.quantity},
            headers={"Idempotency-Key": request.key, "traceparent": traceparent},
        )
        took = (time.perf_counter() - started) * 1000
        replayed = response.headers.get("Idempotent-Replayed") == "true"
        sent = OrderResponse(request, response.status_code, replayed, round(took, 1), sent_at, attempt)
        if response.is_success:
            return msgspec.structs.replace(sent, order=parse(response, Order))
        return msgspec.structs.replace(sent, problem=read_problem(response))

    def order(self, order_id: UUID) -> Order:
        return self._replicas.get(path("api", "orders", str(order_id)), Order)

    def events(self, order_id: UUID) -> OrderEvents:
        return self._replicas.get(path("api", "orders", str(order_id), "events"), OrderEvents)

    def newest(self, *, limit: int, status: str | None = None, item_id: str | None = None) -> list[Order]:
        """Return up to `limit` orders, newest first."""
        found: list[Order] = []
        for page in self._pages(min(limit, PAGE), status, item_id):
            found += page
            if len(found) >= limit:
                break
        return found[:limit]

    def by_key(self, key: str) -> Order | None:
        """Return the order with this key, if any."""
        page = self._replicas.get("/api/orders", OrderPage, params={"idempotency_key": key})
        return page.orders[0] if page.orders else None

    def _pages(self, size: int, status: str | None, item_id: str | None) -> Iterator[list[Order]]:
        cursor: str | None = None
        while True:
            query: dict[str, Any] = {"limit": size, "status": status, "item_id": item_id, "cursor": cursor}
            page = self._replicas.get(
                "/api/orders", OrderPage, params={name: value for name, value in query.items() if value is not None}
            )
            yield page.orders
            cursor = page.next_cursor
            if cursor is None:
                return

    def breaker(self) -> Breaker:
        self._replicas.operator_only("read the breaker")
        return self._replicas.get("/api/admin/breaker", Breaker)

    def force_breaker(self, state: str) -> Breaker:
        """Force the breaker of every replica `open` or `closed`; `auto` ends this."""
        self._replicas.operator_only("force the breaker")
        return decode(self._post("/api/admin/breaker", {"state": state}), Breaker)

    def platform(self) -> str | None:
        """Return the id of the platform, for the header of a journal; None if it is not available."""
        try:
            self._replicas.operator_only("ask which platform this is")
            return str(self._replicas.get("/api/admin/platform", Platform).id)
        except CliError:
            return None

    def queue(self) -> Queue:
        self._replicas.operator_only("read the queue")
        return self._replicas.get("/api/admin/queue", Queue)

    def requeue(self, order_id: UUID | None) -> Requeued:
        """Reset the attempts of one dead order, or of all."""
        self._replicas.operator_only("requeue orders")
        which = {"all": True} if order_id is None else {"order_id": str(order_id)}
        return decode(self._post("/api/admin/queue/requeue", which), Requeued)

    def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return self._replicas.send("POST", path, repeatable=True, json=body)  # each of them sets a state
