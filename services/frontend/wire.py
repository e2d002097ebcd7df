"""Response types of the other services, as far as the dashboard reads them. Unknown fields are ignored."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

ErrorStatus = Annotated[int, msgspec.Meta(ge=400, le=599)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Status = Literal["pending", "queued", "confirmed", "failed", "dead"]
BreakerState = Literal["closed", "open", "half-open"]
Wellness = Literal["ok", "degraded", "down"]


class Check(msgspec.Struct, frozen=True):
    status: Wellness
    latency_ms: float
    detail: str | None = None


class Health(msgspec.Struct, frozen=True):
    status: Wellness
    service: str
    replica: str
    version: str
    checks: dict[str, Check] = {}


class Order(msgspec.Struct, frozen=True):
    order_id: UUID
    item_id: str
    quantity: int
    status: Status
    reason: str | None
    idempotency_key: str
    attempts: int
    created_at: Moment
    updated_at: Moment


class OrderPage(msgspec.Struct, frozen=True):
    orders: list[Order]


class OrderEvent(msgspec.Struct, frozen=True):
    at: Moment
    to: Status
    from_: Status | None = msgspec.field(name="from", default=None)
    detail: dict[str, Any] = {}


class OrderEvents(msgspec.Struct, frozen=True):
    events: list[OrderEvent]


class Window(msgspec.Struct, frozen=True):
    seconds: float
    calls: int
    failures: int
    failure_percent: float
    threshold_percent: float
    minimum_calls: int


class ReplicaBreaker(msgspec.Struct, frozen=True):
    replica: str
    role: str
    state: BreakerState
    since: Moment
    forced: str | None
    reason: str | None
    window: Window
    retry_in_seconds: float | None


class Transition(msgspec.Struct, frozen=True):
    replica: str
    at: Moment
    to: str
    reason: str | None
    from_: str | None = msgspec.field(name="from", default=None)


class Breaker(msgspec.Struct, frozen=True):
    replicas: list[ReplicaBreaker]
    history: list[Transition]


class Queue(msgspec.Struct, frozen=True):
    depth: int
    oldest_age_seconds: float | None
    dead: int
    cap: int


class Item(msgspec.Struct, frozen=True):
    item_id: str
    item_name: str
    quantity: int
    updated_at: Moment


class Items(msgspec.Struct, frozen=True):
    items: list[Item]


class LedgerLine(msgspec.Struct, frozen=True):
    id: int
    item_id: str
    quantity_change: int
    transaction_type: str
    created_at: Moment


class LedgerRefusal(msgspec.Struct, frozen=True):
    reason: str
    created_at: Moment


class Ledger(msgspec.Struct, frozen=True):
    transactions: list[LedgerLine]
    refusal: LedgerRefusal | None = None


class Count(msgspec.Struct, frozen=True):
    rolls: int = 0
    hits: int = 0


class Activation(msgspec.Struct, frozen=True):
    id: str
    latency: bool
    latency_ms: int
    latency_rate: float
    crash_rate: float
    partial_failure_rate: float
    seed: int
    ttl_seconds: Annotated[float, msgspec.Meta(gt=0)]
    reason: str | None
    set_at: Moment
    remaining_seconds: float
    counts: dict[str, Count] = {}


class Drill(msgspec.Struct, frozen=True):
    """The drill run that holds the platform."""

    run: str
    drill: str
    by: str


class Chaos(msgspec.Struct, frozen=True):
    halted: bool
    live: Activation | None
    recent: list[Activation] = []
    drill: Drill | None = None


class Problem(msgspec.Struct, frozen=True):
    """A problem document."""

    type: str
    title: str
    detail: str
    status: ErrorStatus

    @property
    def slug(self) -> str:
        return self.type.rpartition(":")[2]


class Example(msgspec.Struct, frozen=True):
    subject: str
    wrong: str


class Invariant(msgspec.Struct, frozen=True):
    name: str
    rule: str
    verdict: Literal["held", "violated", "unsettled", "not-checked"]
    checked: int
    of: str
    broken: int
    examples: list[Example] = []


class Audit(msgspec.Struct, frozen=True):
    """The output of the audit command. `without_orders`: there were none, so `clean` has no meaning."""

    verdict: Literal["clean", "violated", "unsettled"]
    at: Moment
    seconds: float
    invariants: list[Invariant]
    without_orders: bool = False
