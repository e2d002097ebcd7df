"""Orders and their transitions. Pure functions: no I/O, no clock, randomness is passed in.

accept                     deduct applied
(nothing) ────────► pending ───────────────────────────► confirmed
│  │  no stock, unknown item
│  └─────────────────────────────► failed
│ outcome unknown, or not sent
▼
queued ──worker──► confirmed | failed
│ attempts used up, inventory has no record
▼
dead ──requeue──► queued
"""

import hashlib
import uuid
from datetime import datetime
from random import Random
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from services.common.idempotency import IdempotencyKeyReused
from services.common.refusals import Refusal

Status = Literal["pending", "queued", "confirmed", "failed", "dead"]
UNFINISHED: frozenset[str] = frozenset({"pending", "queued"})
FINAL: frozenset[str] = frozenset({"confirmed", "failed"})

KEYS_TO_ORDERS = uuid.UUID("5b0c0b62-7c5c-5f0e-9d64-2f5d8d3d6a10")
"""Namespace of order ids, which are derived from keys, so gremlins hit the same keys on every run."""
_NAMESPACE = KEYS_TO_ORDERS.bytes

ITEM_ID = r"^(?!\.{1,2}$)[A-Za-z0-9_.:-]{1,64}$(?!\n)"
"""Excludes `.` and `..`, which cannot be URL path segments. A `$` alone would allow a final line break."""

BACKOFF_BASE = 0.5  # seconds
BACKOFF_CAP = 8.0  # seconds: an order settles well within 15 s after a fault ends
MAX_BACKOFF_EXPONENT = 16  # reaches the cap; without it, hours of retries would overflow a float
DEFERRAL_CAP = 60.0  # seconds: the next attempt is due by then, however long the breaker stays open
DEFERRAL_JITTER = 0.5  # seconds
MAX_RETRY_DELAY = max(BACKOFF_CAP, DEFERRAL_CAP + DEFERRAL_JITTER)  # seconds until the next attempt of a queued order
MAX_LEASE = 900.0  # seconds, the limit of the setting
CLOCK_TOLERANCE = 5.0  # seconds that a row may be dated ahead: the statement timeout


class RequestInFlight(Refusal):
    slug, status, title = "request-in-flight", 409, "An earlier request with this key is still being processed"


class InsufficientStock(Refusal):
    slug, status, title = "insufficient-stock", 409, "Not enough stock"


class UnknownItem(Refusal):
    slug, status, title = "unknown-item", 422, "Unknown item"


class QueueFull(Refusal):
    slug, status, title = "queue-full", 503, "Too many orders are queued"


class OrderNotFound(Refusal):
    slug, status, title = "order-not-found", 404, "Order not found"


class OrderNotDead(Refusal):
    slug, status, title = "order-not-dead", 409, "Only dead orders can be requeued"


class OrderBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request for an order."""

    item_id: Annotated[str, msgspec.Meta(pattern=ITEM_ID, description="1 to 64 of A-Z a-z 0-9 _ . : -, not . or ..")]
    quantity: Annotated[int, msgspec.Meta(ge=1, le=1000)]


class NewOrder(msgspec.Struct, frozen=True):
    """A requested order, not yet stored."""

    key: str
    order_id: uuid.UUID
    item_id: str
    quantity: int
    fingerprint: bytes
    request_id: str
    traceparent: str | None = None


class Order(msgspec.Struct, frozen=True):
    """An order as stored and as returned by the API."""

    order_id: uuid.UUID
    item_id: str
    quantity: int
    status: Status
    reason: str | None
    idempotency_key: str
    attempts: int
    created_at: datetime
    updated_at: datetime


class StoredOrder(msgspec.Struct, frozen=True):
    """An order with its internal columns. `is_leased` is decided by the database's clock."""

    order: Order
    fingerprint: bytes
    token: int
    is_leased: bool


class Claim(msgspec.Struct, frozen=True):
    """A lease on one order for one attempt. `token` is the fencing token."""

    order_id: uuid.UUID
    item_id: str
    quantity: int
    status: Status
    attempt: int
    token: int
    idempotency_key: str
    created_at: datetime
    traceparent: str | None = None


class Deducted(msgspec.Struct, frozen=True):
    """Inventory deducted the stock; `repeated` if it already had."""

    repeated: bool


class Refused(msgspec.Struct, frozen=True):
    """Inventory refused permanently. `available` is the remaining stock, if that was the reason."""

    reason: str
    available: int | None = None


class Unknown(msgspec.Struct, frozen=True):
    """The call was sent and its effect is unknown."""

    cause: str


class NotSent(msgspec.Struct, frozen=True):
    """The call was not sent, so it has no effect. Try again in `retry_in` seconds."""

    cause: str
    retry_in: float


class NoRecord(msgspec.Struct, frozen=True):
    """Inventory was asked and has no record of this order."""


Outcome: TypeAlias = Deducted | Refused | Unknown | NotSent | NoRecord


class Settlement(msgspec.Struct, frozen=True):
    """The new state of a claimed order. `delay` is the seconds until the next attempt, if there is one."""

    claim: Claim
    status: Status
    reason: str | None
    attempts: int
    delay: float | None
    detail: dict[str, str | float | int | bool]


class Admitted(msgspec.Struct, frozen=True):
    """The order is new and leased to this process."""

    claim: Claim


class Replay(msgspec.Struct, frozen=True):
    """The key belongs to this stored order."""

    order: Order


Admission: TypeAlias = Admitted | Replay | Refusal


def fingerprint(item_id: str, quantity: int) -> bytes:
    """Return the SHA-256 of the canonical body. Equivalent bodies have equal fingerprints."""
    return hashlib.sha256(msgspec.json.encode([item_id, quantity])).digest()


def order_id_of(key: str) -> uuid.UUID:
    """Return `uuid.uuid5(KEYS_TO_ORDERS, key)`, computed in a third of the time."""
    digest = hashlib.sha1(_NAMESPACE + key.encode(), usedforsecurity=False).digest()
    return uuid.UUID(bytes=digest[:16], version=5)


def new_order(key: str, body: OrderBody, request_id: str, traceparent: str | None = None) -> NewOrder:
    """Build the order of a request."""
    return NewOrder(
        key=key,
        order_id=order_id_of(key),
        item_id=body.item_id,
        quantity=body.quantity,
        fingerprint=fingerprint(body.item_id, body.quantity),
        request_id=request_id,
        traceparent=traceparent,
    )


def admit(new_order: NewOrder, stored: StoredOrder) -> Replay | Refusal:
    """Decide about a request whose key is in use: a replay, a request still in flight, or a mutated replay."""
    if stored.fingerprint != new_order.fingerprint:
        return IdempotencyKeyReused(
            "Send the first body again, or use a new key for a new order", order_id=stored.order.order_id
        )
    if stored.order.status in UNFINISHED and stored.is_leased:
        return RequestInFlight("Try again in a moment with the same key", retry_after=1, order_id=stored.order.order_id)
    return Replay(stored.order)


def decide(claim: Claim, outcome: Outcome, random: Random) -> Settlement:
    """Decide an order's next state from the outcome of an attempt. An unknown outcome never means failed."""
    match outcome:
        case Deducted(repeated):
            return _settlement(claim, "confirmed", None, repeated=repeated)
        case Refused(reason, available):
            members = {} if available is None else {"available": available}
            return _settlement(claim, "failed", reason, **members)
        case Unknown(cause):
            delay = random.uniform(
                0, min(BACKOFF_CAP, BACKOFF_BASE * 2 ** min(claim.attempt - 1, MAX_BACKOFF_EXPONENT))
            )  # nosec B311 # jitter, not a secret
            return _settlement(claim, "queued", cause, delay=delay)
        case NotSent(cause, retry_in):
            delay = min(retry_in, DEFERRAL_CAP) + random.uniform(0, DEFERRAL_JITTER)  # nosec B311 # jitter, not a secret
            return _settlement(claim, "queued", cause, delay=delay, attempts=claim.attempt - 1)
        case NoRecord():
            return _settlement(claim, "dead", "attempts-exhausted")


def apply_settlement(settlement: Settlement, at: datetime) -> Order:
    """Return the order after a settlement has been stored."""
    claim = settlement.claim
    return Order(
        order_id=claim.order_id,
        item_id=claim.item_id,
        quantity=claim.quantity,
        status=settlement.status,
        reason=settlement.reason,
        idempotency_key=claim.idempotency_key,
        attempts=settlement.attempts,
        created_at=claim.created_at,
        updated_at=at,
    )


def _settlement(
    claim: Claim,
    status: Status,
    reason: str | None,
    *,
    delay: float | None = None,
    attempts: int | None = None,
    **members: float | bool,
) -> Settlement:
    detail: dict[str, str | float | int | bool] = {"attempt": claim.attempt, "token": claim.token, **members}
    if reason is not None:
        detail["cause"] = reason
    if delay is not None:
        detail["retry_in_seconds"] = round(delay, 3)
    return Settlement(claim, status, reason, claim.attempt if attempts is None else attempts, delay, detail)


def refusal_of(order: Order) -> Refusal:
    """Return the refusal of a failed order."""
    members: dict[str, Any] = {"order_id": order.order_id, "item_id": order.item_id, "requested": order.quantity}
    if order.reason == "unknown-item":
        return UnknownItem(f"{order.item_id} is not a known item", **members)
    return InsufficientStock(f"Fewer than {order.quantity} of {order.item_id} in stock", **members)
