"""Sample orders."""

import uuid
from datetime import UTC, datetime

from services.order.domain import Claim, NewOrder, Order, OrderBody, Status, StoredOrder, new_order

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def wanted(key: str = "key-1", item_id: str = "ps5", quantity: int = 1) -> NewOrder:
    return new_order(key, OrderBody(item_id, quantity), "request-1")


def order(
    status: Status = "confirmed", reason: str | None = None, *, key: str = "key-1", item_id: str = "ps5"
) -> Order:
    new = wanted(key, item_id)
    return Order(new.order_id, item_id, new.quantity, status, reason, key, 1, NOON, NOON)


def stored(status: Status = "confirmed", *, is_leased: bool = False, quantity: int = 1) -> StoredOrder:
    return StoredOrder(order(status), wanted(quantity=quantity).fingerprint, token=1, is_leased=is_leased)


def claim(attempt: int = 1, token: int = 1, status: Status = "queued") -> Claim:
    return Claim(uuid.UUID(int=7), "ps5", 1, status, attempt, token, "key-7", NOON)
