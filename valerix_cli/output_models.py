"""Results of commands that are not responses of a service; `valerix schema NAME` describes each."""

from datetime import datetime
from typing import Any

import msgspec

from valerix_cli.clients.order_models import OrderResponse
from valerix_cli.clients.wire import Order, Status


class PlacedOrder(msgspec.Struct, frozen=True):
    """The result of sending one order; `tries` counts its sends, all with the same key."""

    item_id: str
    quantity: int
    idempotency_key: str
    order_id: str | None
    status: Status | None
    reason: str | None
    http_status: int
    replayed: bool
    milliseconds: float
    tries: int

    @classmethod
    def of(cls, sent: OrderResponse) -> "PlacedOrder":
        order, problem = sent.order, sent.problem
        return cls(
            sent.request.item_id,
            sent.request.quantity,
            sent.request.key,
            str(order.order_id) if order else problem.order_id if problem else None,
            order.status if order else None,
            order.reason if order else problem.slug if problem else None,
            sent.status,
            sent.replayed,
            sent.milliseconds,
            sent.tries,
        )


class Replay(msgspec.Struct, frozen=True):
    """Many sends of one key. `deductions` is the number in the ledger, None if it could not be read."""

    idempotency_key: str
    mutated: bool
    sends: list[PlacedOrder]
    order_ids: list[str]
    deductions: int | None
    held: bool
    conclusion: str


class Step(msgspec.Struct, frozen=True):
    """One event of an order; `after_seconds` counts from the step before."""

    at: datetime
    after_seconds: float
    where: str
    what: str
    detail: dict[str, Any]


class Trace(msgspec.Struct, frozen=True):
    """The life of an order, step by step, across both services; `trace_id` is that of its first request, if any."""

    order: Order
    steps: list[Step]
    ledger_read: bool
    trace_id: str | None = None


class StockChange(msgspec.Struct, frozen=True):
    """The stock of an item, and its change; None if there is no earlier value."""

    at: datetime
    item_id: str
    quantity: int
    change: int | None


class ContextSummary(msgspec.Struct, frozen=True):
    """One context and its origin; `current` marks the selected one."""

    name: str
    current: bool
    order: list[str]
    inventory: list[str]
    origin: str


class SettingOrigin(msgspec.Struct, frozen=True):
    """One setting, its value and its origin."""

    setting: str
    value: Any
    origin: str


class Dashboard(msgspec.Struct, frozen=True):
    """The dashboard's address, and a link that signs in once, until it expires."""

    url: str
    sign_in_url: str
    expires_at: datetime


class Version(msgspec.Struct, frozen=True):
    valerix: str
    python: str
    system: str


class Explanation(msgspec.Struct, frozen=True):
    kind: str
    code: str
    meaning: str
    why: str
    do: str


class DrillSummary(msgspec.Struct, frozen=True):
    """A drill: the seconds of its load, its faults, its description and its file."""

    name: str
    load_seconds: float
    faults: list[str]
    description: str
    file: str


class RunSummary(msgspec.Struct, frozen=True):
    """One run with a receipt."""

    run: str
    drill: str
    seed: int
    started_at: datetime
    outcome: str
    exit_code: int
    injected: int
    orders: int
