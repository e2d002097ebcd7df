"""Values as the services send them, for tests of clients and views."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from valerix_cli.clients.order_models import OrderRequest, OrderResponse
from valerix_cli.clients.problems import Problem
from valerix_cli.clients.wire import Activation, Order

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ORDER_ID = UUID("00000000-0000-0000-0000-000000000001")
OTHER_ID = UUID("00000000-0000-0000-0000-000000000002")


def order(**changes: Any) -> Order:
    plain = Order(ORDER_ID, "ps5", 2, "confirmed", None, "a-key", 1, NOON, NOON)
    return msgspec.structs.replace(plain, **changes)


def sent(answer: Order | Problem, *, status: int = 201, replayed: bool = False) -> OrderResponse:
    """Return the response to one order: an order or a problem."""
    plain = OrderResponse(OrderRequest("ps5", 2, "a-key"), status, replayed, 12.0, NOON)
    if isinstance(answer, Order):
        return msgspec.structs.replace(plain, order=answer)
    return msgspec.structs.replace(plain, problem=answer, status=answer.status)


def problem(slug: str, status: int, **facts: Any) -> Problem:
    return Problem(slug, status, "A title", "A detail", "a-request", None, facts)


def activation(**changes: Any) -> Activation:
    plain = Activation(
        id="one",
        latency=True,
        latency_ms=5000,
        latency_rate=1.0,
        crash_rate=0.0,
        partial_failure_rate=0.0,
        seed=42,
        ttl_seconds=60,
        reason=None,
        set_at=NOON,
        remaining_seconds=30.0,
    )
    return msgspec.structs.replace(plain, **changes)


def later(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)
