"""What an order is and how it may change. Pure: no I/O, no clock, no randomness of its own.

accept                     deduct applied
(nothing) ────────► pending ───────────────────────────► confirmed
│  │  no stock, unknown item
│  └─────────────────────────────► failed
│ outcome unknown, or not sent
▼
queued ──worker──► confirmed | failed
│ attempts used up, inventory knows nothing
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
"""Order ids are made from keys, so the same keys meet the same gremlins on every run."""
_NAMESPACE = KEYS_TO_ORDERS.bytes

ITEM_ID = r"^(?!\.{1,2}$)[A-Za-z0-9_.:-]{1,64}$(?!\n)"
"""Not `.` and `..`, which no path of a URL can have as a segment. A lone $ would let a final line break pass."""

BACKOFF_BASE = 0.5  # seconds
BACKOFF_CAP = 8.0  # seconds: an order settles well within 15 s of the fault's end
DOUBLINGS = 16  # enough to reach the cap; an order that stays unknown for hours would overflow a float
DEFERRAL_CAP = 60.0  # seconds: however long the breaker stays open, the next attempt is due by then
DEFERRAL_JITTER = 0.5  # seconds
LONGEST_DELAY = max(BACKOFF_CAP, DEFERRAL_CAP + DEFERRAL_JITTER)  # seconds until the next attempt of a queued order
LONGEST_LEASE = 900.0  # seconds, which no setting may exceed
CLOCK_TOLERANCE = 5.0  # seconds that a row may seem to come from the future: as long as a statement may run


class RequestInFlight(Refusal):
    slug, status, title = "request-in-flight", 409, "An earlier request with this key is still being processed"


class InsufficientStock(Refusal):
    slug, status, title = "insufficient-stock", 409, "Not enough stock"


class UnknownItem(Refusal):
    slug, status, title = "unknown-item", 422, "There is no such item"


class QueueFull(Refusal):
    slug, status, title = "queue-full", 503, "Too many orders are waiting"


class OrderNotFound(Refusal):
    slug, status, title = "order-not-found", 404, "There is no such order"


class OrderNotDead(Refusal):
    slug, status, title = "order-not-dead", 409, "Only dead orders can be requeued"


class OrderBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client asks for."""

    item_id: Annotated[str, msgspec.Meta(pattern=ITEM_ID, description="1 to 64 of A-Z a-z 0-9 _ . : -, not . or ..")]
    quantity: Annotated[int, msgspec.Meta(ge=1, le=1000)]


class NewOrder(msgspec.Struct, frozen=True):
    """An order that is wanted, not yet stored."""

    key: str
    order_id: uuid.UUID
    item_id: str
    quantity: int
    fingerprint: bytes
    request_id: str
    traceparent: str | None = None


class Order(msgspec.Struct, frozen=True):
    """An order as stored and as shown."""

    order_id: uuid.UUID
    item_id: str
    quantity: int
    status: Status
    reason: str | None
    idempotency_key: str
    attempts: int
    created_at: datetime
    updated_at: datetime


class Stored(msgspec.Struct, frozen=True):
    """An order with what only the service may know. `is_leased` is told by the database's clock."""

    order: Order
    fingerprint: bytes
    token: int
    is_leased: bool


class Claim(msgspec.Struct, frozen=True):
    """The right to try one order, until its lease ends: `token` fences off whoever held it before."""

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
    """Inventory took the stock; `repeated` when it had done so before."""

    repeated: bool


class Refused(msgspec.Struct, frozen=True):
    """Inventory said no, for good. `available` is what was left, where that was the reason."""

    reason: str
    available: int | None = None


class Unknown(msgspec.Struct, frozen=True):
    """Sent, and no telling whether it took effect."""

    cause: str


class NotSent(msgspec.Struct, frozen=True):
    """Held back, so certainly without effect. Worth another try in `retry_in` seconds."""

    cause: str
    retry_in: float


class NothingThere(msgspec.Struct, frozen=True):
    """Inventory was asked and knows nothing of this order."""


Outcome: TypeAlias = Deducted | Refused | Unknown | NotSent | NothingThere


class Settlement(msgspec.Struct, frozen=True):
    """What is to be written about a claimed order. `delay` is seconds until the next attempt, if there is one."""

    claim: Claim
    status: Status
    reason: str | None
    attempts: int
    delay: float | None
    detail: dict[str, str | float | int | bool]


class Process(msgspec.Struct, frozen=True):
    """The order is new and ours to process."""

    claim: Claim


class Replay(msgspec.Struct, frozen=True):
    """The key stands for this order already."""

    order: Order


Admission: TypeAlias = Process | Replay | Refusal


def fingerprint(item_id: str, quantity: int) -> bytes:
    """SHA-256 of the canonical body: two bodies that mean the same have the same one."""
    return hashlib.sha256(msgspec.json.encode([item_id, quantity])).digest()


def order_id_of(key: str) -> uuid.UUID:
    """Return what `uuid.uuid5(KEYS_TO_ORDERS, key)` does, in a third of its time."""
    digest = hashlib.sha1(_NAMESPACE + key.encode(), usedforsecurity=False).digest()
    return uuid.UUID(bytes=digest[:16], version=5)


def new_order(key: str, body: OrderBody, request_id: str, traceparent: str | None = None) -> NewOrder:
    return NewOrder(
        key=key,
        order_id=order_id_of(key),
        item_id=body.item_id,
        quantity=body.quantity,
        fingerprint=fingerprint(body.item_id, body.quantity),
        request_id=request_id,
        traceparent=traceparent,
    )


def admit(wanted: NewOrder, stored: Stored) -> Replay | Refusal:
    """Say what a key that is taken stands for: a repeat, one still in flight, or somebody else's order."""
    if stored.fingerprint != wanted.fingerprint:
        return IdempotencyKeyReused(
            "Repeat the first body, or use a new key for a new order", order_id=stored.order.order_id
        )
    if stored.order.status in UNFINISHED and stored.is_leased:
        return RequestInFlight("Try again in a moment with the same key", retry_after=1, order_id=stored.order.order_id)
    return Replay(stored.order)


def conclude(claim: Claim, outcome: Outcome, random: Random) -> Settlement:
    """Say what an outcome makes of the order. What is unknown is never called failed."""
    match outcome:
        case Deducted(repeated):
            return _settlement(claim, "confirmed", None, repeated=repeated)
        case Refused(reason, available):
            facts = {} if available is None else {"available": available}
            return _settlement(claim, "failed", reason, **facts)
        case Unknown(cause):
            delay = random.uniform(0, min(BACKOFF_CAP, BACKOFF_BASE * 2 ** min(claim.attempt - 1, DOUBLINGS)))  # nosec B311 # jitter, not a secret
            return _settlement(claim, "queued", cause, delay=delay)
        case NotSent(cause, retry_in):
            delay = min(retry_in, DEFERRAL_CAP) + random.uniform(0, DEFERRAL_JITTER)  # nosec B311 # jitter, not a secret
            return _settlement(claim, "queued", cause, delay=delay, attempts=claim.attempt - 1)
        case NothingThere():
            return _settlement(claim, "dead", "attempts-exhausted")


def settled(settlement: Settlement, at: datetime) -> Order:
    """The order as it stands once a settlement has been written."""
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
    **facts: float | bool,
) -> Settlement:
    detail: dict[str, str | float | int | bool] = {"attempt": claim.attempt, "token": claim.token, **facts}
    if reason is not None:
        detail["cause"] = reason
    if delay is not None:
        detail["retry_in_seconds"] = round(delay, 3)
    return Settlement(claim, status, reason, claim.attempt if attempts is None else attempts, delay, detail)


def refusal_of(order: Order) -> Refusal:
    """The problem that a failed order is answered with."""
    facts: dict[str, Any] = {"order_id": order.order_id, "item_id": order.item_id, "requested": order.quantity}
    if order.reason == "unknown-item":
        return UnknownItem(f"{order.item_id} is not in the catalogue", **facts)
    return InsufficientStock(f"{order.quantity} of {order.item_id} are not there", **facts)
