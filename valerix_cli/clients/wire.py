"""Response bodies of the services, limited to the fields that the command line uses; unknown fields are ignored."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

Status = Literal["pending", "queued", "confirmed", "failed", "dead"]
BreakerState = Literal["closed", "open", "half-open"]
FINAL: frozenset[Status] = frozenset({"confirmed", "failed", "dead"})


class Order(msgspec.Struct, frozen=True):
    order_id: UUID
    item_id: str
    quantity: int
    status: Status
    reason: str | None
    idempotency_key: str
    attempts: int
    created_at: datetime
    updated_at: datetime


class OrderPage(msgspec.Struct, frozen=True):
    orders: list[Order]
    next_cursor: str | None = None


class OrderEvent(msgspec.Struct, frozen=True):
    """One transition; `detail` holds its cause and reason."""

    at: datetime
    to: Status
    from_: Status | None = msgspec.field(name="from", default=None)
    detail: dict[str, Any] = {}


class OrderEvents(msgspec.Struct, frozen=True):
    order_id: UUID
    events: list[OrderEvent]


class BreakerWindow(msgspec.Struct, frozen=True):
    seconds: float
    calls: int
    failures: int
    failure_percent: float
    threshold_percent: float
    minimum_calls: int
    outcomes: dict[str, int] = {}


class ReplicaBreaker(msgspec.Struct, frozen=True):
    replica: str
    role: str
    state: BreakerState
    since: datetime
    forced: str | None
    reason: str | None
    window: BreakerWindow
    retry_in_seconds: float | None
    updated_at: datetime


class BreakerTransition(msgspec.Struct, frozen=True):
    replica: str
    at: datetime
    to: str
    reason: str | None
    from_: str | None = msgspec.field(name="from", default=None)


class Breaker(msgspec.Struct, frozen=True):
    replicas: list[ReplicaBreaker]
    history: list[BreakerTransition]


class Queue(msgspec.Struct, frozen=True):
    depth: int
    oldest_age_seconds: float | None
    dead: int
    cap: int
    dead_orders: list[Order]
    misdated: int = 0


class Requeued(msgspec.Struct, frozen=True):
    requeued: list[UUID]


class Item(msgspec.Struct, frozen=True):
    item_id: str
    item_name: str
    quantity: int
    reserved_quantity: int
    created_at: datetime
    updated_at: datetime


class Items(msgspec.Struct, frozen=True):
    items: list[Item]


class Restocked(msgspec.Struct, frozen=True):
    item_id: str
    added: int
    quantity: int
    repeated: bool


class LedgerLine(msgspec.Struct, frozen=True):
    id: int
    item_id: str
    quantity_change: int
    transaction_type: str
    created_at: datetime


class LedgerRefusal(msgspec.Struct, frozen=True):
    reason: str
    created_at: datetime


class Ledger(msgspec.Struct, frozen=True):
    order_id: UUID
    transactions: list[LedgerLine]
    refusal: LedgerRefusal | None = None


class Count(msgspec.Struct, frozen=True):
    rolls: int = 0
    hits: int = 0


TTL_LIMIT, DELAY_LIMIT = 900, 60  # seconds: the maximum of the inventory service


class Activation(msgspec.Struct, frozen=True):
    id: str | int
    latency: bool
    latency_ms: int
    latency_rate: float
    crash_rate: float
    partial_failure_rate: float
    seed: int
    ttl_seconds: float
    reason: str | None
    set_at: datetime
    remaining_seconds: float
    acknowledged: list[str] = []
    counts: dict[str, Count] = {}
    script_length: int | None = None


class Hit(msgspec.Struct, frozen=True):
    """One attempt of one order that a gremlin hit."""

    gremlin: str
    order_id: UUID
    attempt: int


class Hits(msgspec.Struct, frozen=True):
    """The orders that an activation hit; `complete` is False if more were counted than are listed."""

    activation_id: str
    hits: list[Hit]
    complete: bool


class Platform(msgspec.Struct, frozen=True):
    id: UUID


class DrillLease(msgspec.Struct, frozen=True):
    """The run of a drill that holds the platform exclusively."""

    run: str
    drill: str
    by: str
    since: datetime
    remaining_seconds: float


class Chaos(msgspec.Struct, frozen=True):
    halted: bool
    live: Activation | None
    recent: list[Activation] = []
    drill: DrillLease | None = None


class Ended(msgspec.Struct, frozen=True):
    ended: Activation | None
