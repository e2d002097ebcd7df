"""The request that places an order, and its response."""

from datetime import datetime

import msgspec

from valerix_cli.clients.problems import Problem
from valerix_cli.clients.wire import Order


class OrderRequest(msgspec.Struct, frozen=True):
    """An order to place, with its idempotency key."""

    item_id: str
    quantity: int
    key: str


class OrderResponse(msgspec.Struct, frozen=True):
    """One request that was sent and its result: an order, or a problem."""

    request: OrderRequest
    status: int
    replayed: bool
    milliseconds: float
    sent_at: datetime
    tries: int = 1
    order: Order | None = None
    problem: Problem | None = None
